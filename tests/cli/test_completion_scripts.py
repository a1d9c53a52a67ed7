"""Completion scripts in real shells: fixed words without starting Python, and values of the store from mlctl."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from mlctl.cli.completion_scripts import FILE_NAMES, RENDER
from mlctl.cli.completion_scripts.command_tree import (
    ArgumentNode,
    CommandNode,
    OptionNode,
    ValueNode,
    build_tree,
    recipe_names,
)
from tests import store as stores

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
FORMATS = ("table", "json", "csv", "md")
HELP = OptionNode(names=("--help", "-h"), help="Show this message and exit.")
COMMON = (
    OptionNode(
        names=("--output", "-o"),
        help="Format of the answer.",
        value=ValueNode(name="output", words=FORMATS),
    ),
    OptionNode(
        names=("--tracking-uri",),
        help="The store: sqlite:///FILE [or http://…].",
        value=ValueNode(name="URI"),
    ),
    HELP,
)


def command(path: str, help_: str, *arguments: ArgumentNode) -> CommandNode:
    return CommandNode(path=path, help=help_, options=COMMON, arguments=arguments)


def group(path: str, help_: str, *commands: CommandNode) -> CommandNode:
    return CommandNode(path=path, help=help_, options=(HELP,), commands=commands)


def from_store(kind: str, *, files: bool = False, repeated: bool = False) -> ArgumentNode:
    return ArgumentNode(
        value=ValueNode(name=kind, store_kind=kind, files=files), help=kind, repeated=repeated
    )


# a tree with a command of every kind that options.py lists
SMALL = group(
    "",
    "A small mlctl.",
    command(
        "train",
        "Train it.",
        ArgumentNode(value=ValueNode(name="SOURCE", words=recipe_names(), files=True), help="what"),
    ),
    group(
        "runs",
        "Look at runs.",
        command("runs show", "Show: one run's [all].", from_store("RUN")),
        command("runs diff", "Compare.", from_store("RUN", repeated=True)),
    ),
    command("promote", "Promote it.", from_store("NAME"), from_store("VERSION"), from_store("STAGE")),
    command("predict", "Predict with a model.", from_store("MODEL", files=True)),
)


@pytest.fixture
def folder(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:  # fmt: skip
    """Work in a folder with two files; a fake mlctl, first on PATH, records that it was called."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("mine.py", "my data.csv"):
        (folder / name).touch()
    monkeypatch.chdir(folder)
    _write_program(tmp_path, f"echo called >> {shlex.quote(str(tmp_path / 'called'))}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ZSH_DUMP", str(tmp_path_factory.getbasetemp() / "zcompdump"))
    return folder


@pytest.fixture
def real_mlctl(folder: Path, tmp_path: Path, thousand_runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the fake by the real mlctl, with a store of 1,000 runs."""
    _write_program(tmp_path, f'exec {shlex.quote(sys.executable)} -m mlctl "$@"')
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", thousand_runs)


def _write_program(folder: Path, body: str) -> None:
    path = folder / "bin" / "mlctl"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


Complete = Callable[..., list[str]]


def in_bash(line: str, tree: CommandNode = SMALL) -> list[str]:
    """Complete a line as bash does: split it at blanks, : and =, call the function, and read its replies."""
    Path("script.bash").write_text(RENDER["bash"](tree), encoding="utf-8")
    words = re.findall(r""""[^"]*"?|'[^']*'?|[:=]+|(?:\\.|[^\s:="'])+""", line)
    words += [""] if line.endswith(" ") else []
    quoted = " ".join(shlex.quote(word) for word in words)
    call = (
        f"source script.bash; COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}};"
        f" COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; rm script.bash;"
        ' _mlctl; ((${#COMPREPLY[@]})) && printf "%s\\n" "${COMPREPLY[@]}"; :'
    )
    result = subprocess.run(["bash", "--norc", "-c", call], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout.splitlines()


def in_fish(line: str, tree: CommandNode = SMALL) -> list[str]:
    Path("script.fish").write_text(RENDER["fish"](tree), encoding="utf-8")
    call = f"source script.fish; rm script.fish; complete -C {_fish_quoted(line)}"
    result = subprocess.run(["fish", "--no-config", "-c", call], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return [line.partition("\t")[0] for line in result.stdout.splitlines()]


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def in_zsh(line: str, tree: CommandNode = SMALL) -> list[str]:
    """Type the line and a TAB into an interactive zsh, whose compadd writes what it offers to a file."""
    folder = Path("functions")
    folder.mkdir(exist_ok=True)
    (folder / "_mlctl").write_text(RENDER["zsh"](tree), encoding="utf-8")
    replies = Path("replies").absolute()
    replies.unlink(missing_ok=True)
    zsh = pexpect.spawn("zsh", ["-f", "-i"], encoding="utf-8", timeout=20, dimensions=(50, 200))
    zsh.sendline(f"PS1='%%'; fpath=({shlex.quote(str(folder.absolute()))} $fpath); autoload -Uz compinit")
    # what compinit finds in zsh's own functions takes most of the time: all tests share it
    zsh.sendline(f"compinit -u -d {shlex.quote(os.environ['ZSH_DUMP'])}")
    zsh.sendline("zstyle ':completion:*' list-prompt ''; LISTMAX=100000; echo rea''dy")
    zsh.expect_exact("ready\r\n")
    # -O stores the matches in an array; then they are really added
    zsh.sendline(
        "compadd() { if [[ ${@[(I)-[AOD]]} -eq 0 ]]; then local -a hits;"
        ' builtin compadd -O hits "$@"; print -rl -- $hits >> ' + shlex.quote(str(replies)) + ";"
        ' fi; builtin compadd "$@" }; done_() { zle complete-word; print done >> '
        + shlex.quote(str(replies))
        + " }; zle -N done_; bindkey '^T' done_; echo se''t"
    )
    zsh.expect_exact("set\r\n")
    zsh.send(line + "\x14")
    for _ in range(200):
        if replies.exists() and replies.read_text(encoding="utf-8").endswith("done\n"):
            break
        zsh.expect([pexpect.TIMEOUT, "\x00"], timeout=0.05)
    zsh.close(force=True)
    return [reply for reply in replies.read_text(encoding="utf-8").splitlines()[:-1] if reply]


SHELLS = [
    pytest.param(in_bash, marks=pytest.mark.needs("bash"), id="bash"),
    pytest.param(in_zsh, marks=pytest.mark.needs("zsh"), id="zsh"),
    pytest.param(in_fish, marks=pytest.mark.needs("fish"), id="fish"),
]


@pytest.mark.parametrize("complete", SHELLS)
def test_fixed_words_do_not_start_mlctl(complete: Complete, folder: Path, tmp_path: Path) -> None:
    assert sorted(complete("mlctl pr")) == ["predict", "promote"]
    assert sorted(complete("mlctl runs ")) == ["diff", "show"]
    assert complete("mlctl train -o js") == ["json"]
    assert sorted(complete("mlctl train digits --output ")) == sorted(FORMATS)
    assert "--tracking-uri" in {word.rstrip("=") for word in complete("mlctl runs show --tr")}
    assert complete("mlctl train mnist-m")[-1:] == ["mnist-mlp"]
    assert "mine.py" in complete("mlctl train mi")
    assert "housing" in complete("mlctl train -o json hou")
    assert [word.rpartition("=")[2] for word in complete("mlctl train --output=js")] == ["json"]
    assert complete("mlctl train --tracking-uri ") == []
    assert not (tmp_path / "called").exists(), "a fixed word started mlctl"


@pytest.mark.parametrize("complete", SHELLS)
def test_script_of_the_real_commands(complete: Complete, folder: Path, tmp_path: Path) -> None:
    tree = build_tree()
    assert complete("mlctl tr", tree)[:1] == ["train"]
    assert sorted(complete("mlctl recipes ", tree)) == ["check", "copy", "list", "show"]
    assert complete("mlctl recipes show hou", tree) == ["housing"]
    assert complete("mlctl completion install fi", tree) == ["fish"]
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("complete", SHELLS)
@pytest.mark.usefixtures("real_mlctl")
def test_runs_of_the_store(complete: Complete) -> None:
    offered = complete("mlctl runs show ")
    assert {"last", "best", "digits-0999"} <= set(offered)
    assert "deleted-run" not in offered
    assert len(complete("mlctl runs show digits-09")) == 100
    assert complete("mlctl runs show 0102") == ["0102" + "f" * 28]
    assert complete("mlctl runs diff last digits-0123") == ["digits-0123"]
    assert complete("mlctl runs show last digits-0123") == []


@pytest.mark.parametrize("complete", SHELLS)
@pytest.mark.usefixtures("real_mlctl")
def test_models_versions_and_stages_of_the_store(complete: Complete) -> None:
    assert complete("mlctl promote wi") == ["wine-quality"]
    assert sorted(complete("mlctl promote -o json wine-quality ")) == ["1", "2", "3"]
    assert complete("mlctl promote wine-quality 2 Prod") == ["Production"]
    assert complete("mlctl predict wine-quality/2") == ["wine-quality/2"]
    assert complete("mlctl predict wine-quality@ch") == ["wine-quality@champion"]
    assert "mine.py" in complete("mlctl predict mi")


@pytest.mark.parametrize("complete", SHELLS)
@pytest.mark.usefixtures("real_mlctl")
def test_values_of_options(complete: Complete) -> None:
    tree = build_tree()
    assert complete("mlctl train digits --set sche", tree) == ["schedule="]
    assert complete("mlctl runs list --sort started,-durat", tree) == ["started,-duration"]


@pytest.mark.parametrize("complete", SHELLS)
def test_tracking_uri_of_the_command_line_is_used(
    complete: Complete, real_mlctl: None, thousand_runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///missing.db")
    assert complete("mlctl runs show fir") == []
    assert complete(f"mlctl runs show --tracking-uri {thousand_runs} fir") == ["first"]
    assert complete(f"mlctl runs show --tracking-uri '{thousand_runs}' fir") == ["first"]
    assert not Path("missing.db").exists()


@pytest.mark.parametrize(
    "shell", [pytest.param(shell, marks=pytest.mark.needs(shell)) for shell in FILE_NAMES]
)
@pytest.mark.usefixtures("real_mlctl")
def test_odd_names_reach_the_command_as_one_argument(shell: str, tmp_path: Path) -> None:
    """Type the start of a name, TAB and Enter into a shell: the program gets the name as one argument."""
    received = tmp_path / "received"
    _write_program(
        tmp_path,
        f'[ "$1" = __complete ] && exec {shlex.quote(sys.executable)} -m mlctl "$@"\n'
        f'printf "%s\\n" "$@" > {received}.part; mv {received}.part {received}',
    )
    session = _interactive(shell)
    for name in stores.UNUSUAL_NAMES:
        typed = name[:4].partition(" ")[0].replace("'", "\\'")
        session.send(f"mlctl runs show {typed}\t")
        session.expect_exact(_last_word(name))
        session.send("\r")
        for _ in range(100):
            if received.exists():
                break
            session.expect([pexpect.TIMEOUT, "\x00"], timeout=0.05)
        assert received.read_text(encoding="utf-8").splitlines() == ["runs", "show", name]
        received.unlink()
    session.close(force=True)


def _last_word(name: str) -> str:
    return re.findall(r"\w+", name)[-1]


def _interactive(shell: str) -> pexpect.spawn[str]:
    path = Path("f") / FILE_NAMES[shell]
    path.parent.mkdir(exist_ok=True)
    path.write_text(RENDER[shell](SMALL), encoding="utf-8")
    arguments = {"bash": ["--norc", "-i"], "zsh": ["-f", "-i"], "fish": ["--no-config", "-i"]}[shell]
    start = {
        "bash": "source f/mlctl.bash",
        "zsh": "fpath=($PWD/f $fpath); autoload -Uz compinit; compinit -u -D",
        "fish": "source f/mlctl.fish",
    }[shell]
    session = pexpect.spawn(
        shell,
        arguments,
        encoding="utf-8",
        timeout=20,
        dimensions=(40, 160),
        env={**os.environ, "TERM": "xterm"},
    )
    session.sendline(f"{start}; echo rea''dy")
    session.expect_exact("ready\r\n")
    return session


@pytest.mark.parametrize("complete", SHELLS)
@pytest.mark.usefixtures("real_mlctl")
def test_unreachable_store_offers_nothing(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert complete("mlctl runs show ") == []
