"""Installing a completion script: the right place, once, and a shell that then completes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mlctl.cli.shells import script
from mlctl.errors import UsageError
from mlctl.services import completion


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZDOTDIR", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".zshrc").touch()
    return tmp_path / "home"


def test_the_shell_is_the_one_given_or_the_one_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/local/bin/fish")
    assert completion.chosen(None) == "fish"
    assert completion.chosen("zsh") == "zsh"
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    with pytest.raises(UsageError, match="tcsh"):
        completion.chosen(None)
    monkeypatch.delenv("SHELL")
    with pytest.raises(UsageError, match="not set"):
        completion.chosen(None)


@pytest.mark.parametrize(
    ("shell", "variable", "place"),
    [
        ("bash", "XDG_DATA_HOME", "bash-completion/completions/mlctl"),
        ("fish", "XDG_CONFIG_HOME", "fish/completions/mlctl.fish"),
    ],
)
def test_bash_and_fish_have_a_place_of_their_own(home: Path, shell: str, variable: str, place: str) -> None:
    done = completion.install(shell, "one\n")
    assert done.file == str(Path(os.environ[variable]) / place)
    assert (done.changed, Path(done.file).read_text(encoding="utf-8")) == (True, "one\n")
    assert not completion.install(shell, "one\n").changed
    assert completion.install(shell, "two\n").changed
    assert Path(done.file).read_text(encoding="utf-8") == "two\n"


@pytest.mark.needs("zsh")
def test_zsh_without_a_folder_of_the_users_is_told_the_line_it_needs(home: Path) -> None:
    done = completion.install("zsh", "#compdef mlctl\n")
    assert done.file == str(Path(os.environ["XDG_DATA_HOME"]) / "zsh" / "site-functions" / "_mlctl")
    line = done.start.partition(": ")[2]
    (home / ".zshrc").write_text(line + "\n", encoding="utf-8")
    found = subprocess.run(
        ["zsh", "-ic", "print $_comps[mlctl]"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert found.stdout.strip() == "_mlctl", found.stderr


@pytest.mark.needs("zsh")
def test_zsh_takes_a_folder_of_the_users_that_is_searched_already(home: Path) -> None:
    folder = home / "functions"
    folder.mkdir()
    (home / ".zshrc").write_text(f"fpath=({folder} $fpath)\n", encoding="utf-8")
    done = completion.install("zsh", "#compdef mlctl\n")
    assert (done.file, done.start) == (str(folder / "_mlctl"), "open a new zsh")


@pytest.mark.needs("fish")
def test_fish_finds_the_real_script_where_it_was_put(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "mlctl").write_text("#!/bin/sh\n", encoding="utf-8")
    (home / "mlctl").chmod(0o755)  # fish loads completions of commands that are there
    monkeypatch.setenv("PATH", f"{home}{os.pathsep}{os.environ['PATH']}")
    completion.install("fish", script("fish"))
    done = subprocess.run(
        ["fish", "-c", "complete -C 'mlctl trai'"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("train\t")


@pytest.mark.needs("bash")
def test_bash_completes_with_the_real_script_sourced_as_told(home: Path) -> None:
    done = completion.install("bash", script("bash"))
    call = (
        f"source {done.file}; COMP_LINE='mlctl trai' COMP_POINT=10 COMP_WORDS=(mlctl trai) COMP_CWORD=1;"
        ' _mlctl; echo "${COMPREPLY[@]}"'
    )
    told = subprocess.run(["bash", "--norc", "-c", call], capture_output=True, text=True, check=True)
    assert told.stdout == "train\n"
