"""Installing a completion script in the right folder, and completing with it in a real shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mlctl.cli.completion_scripts import render_script
from mlctl.errors import UsageError
from mlctl.services.project import completion


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZDOTDIR", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".zshrc").touch()
    return tmp_path / "home"


@pytest.mark.unit
def test_choose_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/local/bin/fish")
    assert completion.choose_shell(None) == "fish"
    assert completion.choose_shell("zsh") == "zsh"
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    with pytest.raises(UsageError, match="tcsh"):
        completion.choose_shell(None)
    monkeypatch.delenv("SHELL")
    with pytest.raises(UsageError, match="not set"):
        completion.choose_shell(None)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("shell", "variable", "path"),
    [
        ("bash", "XDG_DATA_HOME", "bash-completion/completions/mlctl"),
        ("fish", "XDG_CONFIG_HOME", "fish/completions/mlctl.fish"),
    ],
)
def test_bash_and_fish_have_a_fixed_path(home: Path, shell: str, variable: str, path: str) -> None:
    installed = completion.install_script(shell, "one\n")
    assert installed.file == str(Path(os.environ[variable]) / path)
    assert (installed.changed, Path(installed.file).read_text(encoding="utf-8")) == (True, "one\n")
    assert not completion.install_script(shell, "one\n").changed
    assert completion.install_script(shell, "two\n").changed
    assert Path(installed.file).read_text(encoding="utf-8") == "two\n"


@pytest.mark.unit
def test_bash_without_its_package_is_told_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "SHARED_FOLDERS", ())
    installed = completion.install_script("bash", "one\n")
    assert installed.next_step.startswith("the package bash-completion is not installed")
    assert installed.next_step.endswith(f"add this line to ~/.bashrc: source {installed.file}")


@pytest.mark.live
@pytest.mark.needs("zsh")
def test_zsh_without_a_writable_folder_needs_a_line_in_zshrc(home: Path) -> None:
    installed = completion.install_script("zsh", "#compdef mlctl\n")
    assert installed.file == str(Path(os.environ["XDG_DATA_HOME"]) / "zsh" / "site-functions" / "_mlctl")
    line = installed.next_step.partition(": ")[2]
    (home / ".zshrc").write_text(line + "\n", encoding="utf-8")
    process = subprocess.run(
        ["zsh", "-ic", "print $_comps[mlctl]"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert process.stdout.strip() == "_mlctl", process.stderr


@pytest.mark.live
@pytest.mark.needs("zsh")
def test_zsh_uses_a_folder_of_the_user_that_is_in_fpath(home: Path) -> None:
    folder = home / "functions"
    folder.mkdir()
    (home / ".zshrc").write_text(f"fpath=({folder} $fpath)\n", encoding="utf-8")
    installed = completion.install_script("zsh", "#compdef mlctl\n")
    assert (installed.file, installed.next_step) == (str(folder / "_mlctl"), "open a new zsh")


@pytest.mark.live
@pytest.mark.needs("fish")
def test_fish_completes_with_the_installed_script(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "mlctl").write_text("#!/bin/sh\n", encoding="utf-8")
    (home / "mlctl").chmod(0o755)  # fish loads completions only for existing commands
    monkeypatch.setenv("PATH", f"{home}{os.pathsep}{os.environ['PATH']}")
    completion.install_script("fish", render_script("fish"))
    process = subprocess.run(
        ["fish", "-c", "complete -C 'mlctl trai'"], capture_output=True, text=True, check=True
    )
    assert process.stdout.startswith("train\t")


@pytest.mark.live
@pytest.mark.needs("bash")
def test_bash_completes_with_the_installed_script(home: Path) -> None:
    installed = completion.install_script("bash", render_script("bash"))
    call = (
        f"source {installed.file}; COMP_LINE='mlctl trai' COMP_POINT=10 COMP_WORDS=(mlctl trai) COMP_CWORD=1;"
        ' _mlctl; echo "${COMPREPLY[@]}"'
    )
    process = subprocess.run(["bash", "--norc", "-c", call], capture_output=True, text=True, check=True)
    assert process.stdout == "train\n"
