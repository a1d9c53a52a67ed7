"""The completion scripts in real shells: static words without a Python, and the store's by asking mlctl."""

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

from mlctl.cli.shells import RENDER, script
from mlctl.cli.shells.tree import Argument, Node, Option, Value, recipes
from tests import store as stores

ROOT = Path(__file__).parents[2]
FILES = {"bash": "mlctl.bash", "zsh": "_mlctl", "fish": "mlctl.fish"}
TABLE = ("table", "json", "csv", "md")
HELP = Option(("--help", "-h"), "Show this message and exit.", None)
COMMON = (
    Option(("--output", "-o"), "How the answer is written.", Value("output", TABLE)),
    Option(("--tracking-uri",), "The store: sqlite:///FILE [or http://…].", Value("URI")),
    HELP,
)
# one command of every kind that options.py knows, so that each rule is tried whatever commands there are
SMALL = Node(
    "",
    "A small mlctl.",
    (HELP,),
    commands=(
        Node("train", "Train it.", COMMON, (Argument(Value("SOURCE", recipes(), files=True), "what"),)),
        Node(
            "runs",
            "Look at runs.",
            (HELP,),
            commands=(
                Node(
                    "runs show",
                    "Show: one run's [all].",
                    COMMON,
                    (Argument(Value("RUN", ask="RUN"), "which"),),
                ),
                Node("runs diff", "Compare.", COMMON, (Argument(Value("RUN", ask="RUN"), "", True, True),)),
            ),
        ),
        Node(
            "promote",
            "Promote it.",
            COMMON,
            tuple(Argument(Value(kind, ask=kind), kind) for kind in ("NAME", "VERSION", "STAGE")),
        ),
        Node(
            "predict", "Ask a model.", COMMON, (Argument(Value("MODEL", files=True, ask="MODEL"), "which"),)
        ),
    ),
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of two files; a fake mlctl comes first on PATH and notes that it was called."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("mine.py", "my data.csv"):
        (folder / name).touch()
    monkeypatch.chdir(folder)
    _program(tmp_path, f"echo called >> {shlex.quote(str(tmp_path / 'called'))}")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def asking(here: Path, tmp_path: Path, thousand_runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the real mlctl there, with a store of 1,000 runs."""
    _program(tmp_path, f'exec {shlex.quote(sys.executable)} -m mlctl "$@"')
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", thousand_runs)


def _program(folder: Path, body: str) -> None:
    file = folder / "bin" / "mlctl"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    file.chmod(0o755)


Complete = Callable[..., list[str]]


def in_bash(line: str, node: Node = SMALL) -> list[str]:
    """Complete a line as bash does: cut at blanks, : and =, the function called, its replies read."""
    Path("script.bash").write_text(RENDER["bash"](node), encoding="utf-8")
    words = re.findall(r""""[^"]*"?|'[^']*'?|[:=]+|(?:\\.|[^\s:="'])+""", line)
    words += [""] if line.endswith(" ") else []
    quoted = " ".join(shlex.quote(word) for word in words)
    call = (
        f"source script.bash; COMP_LINE={shlex.quote(line)}; COMP_POINT=${{#COMP_LINE}};"
        f" COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; rm script.bash;"
        ' _mlctl; ((${#COMPREPLY[@]})) && printf "%s\\n" "${COMPREPLY[@]}"; :'
    )
    done = subprocess.run(["bash", "--norc", "-c", call], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def in_fish(line: str, node: Node = SMALL) -> list[str]:
    Path("script.fish").write_text(RENDER["fish"](node), encoding="utf-8")
    call = f"source script.fish; rm script.fish; complete -C {_fish_quoted(line)}"
    done = subprocess.run(["fish", "--no-config", "-c", call], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [one.partition("\t")[0] for one in done.stdout.splitlines()]


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def in_zsh(line: str, node: Node = SMALL) -> list[str]:
    """Type the line and a TAB into an interactive zsh; compadd tells what it would offer."""
    folder = Path("functions")
    folder.mkdir(exist_ok=True)
    (folder / "_mlctl").write_text(RENDER["zsh"](node), encoding="utf-8")
    replies = Path("replies").absolute()
    replies.unlink(missing_ok=True)
    zsh = pexpect.spawn("zsh", ["-f", "-i"], encoding="utf-8", timeout=20, dimensions=(50, 200))
    zsh.sendline(f"PS1='%%'; fpath=({shlex.quote(str(folder.absolute()))} $fpath); autoload -Uz compinit")
    zsh.sendline("compinit -u -D; zstyle ':completion:*' list-prompt ''; LISTMAX=100000; echo rea''dy")
    zsh.expect_exact("ready\r\n")
    # what compadd would take is asked with -O, and then really added
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
    return [one for one in replies.read_text(encoding="utf-8").splitlines()[:-1] if one]


SHELLS = [
    pytest.param(in_bash, marks=pytest.mark.needs("bash"), id="bash"),
    pytest.param(in_zsh, marks=pytest.mark.needs("zsh"), id="zsh"),
    pytest.param(in_fish, marks=pytest.mark.needs("fish"), id="fish"),
]


@pytest.mark.parametrize("shell", FILES)
def test_the_files_of_the_repository_are_what_the_program_writes(shell: str) -> None:
    written = (ROOT / "completions" / FILES[shell]).read_text(encoding="utf-8")
    assert written == script(shell), f"mlctl completion show {shell} > completions/{FILES[shell]}"


@pytest.mark.parametrize("complete", SHELLS)
def test_static_words_come_without_a_python(complete: Complete, here: Path, tmp_path: Path) -> None:
    assert sorted(complete("mlctl pr")) == ["predict", "promote"]
    assert sorted(complete("mlctl runs ")) == ["diff", "show"]
    assert complete("mlctl train -o js") == ["json"]
    assert sorted(complete("mlctl train digits --output ")) == sorted(TABLE)
    assert "--tracking-uri" in {one.rstrip("=") for one in complete("mlctl runs show --tr")}
    assert complete("mlctl train mnist-")[-1:] == ["mnist-mlp"]
    assert "mine.py" in complete("mlctl train mi")
    assert "housing" in complete("mlctl train -o json hou")
    assert [one.rpartition("=")[2] for one in complete("mlctl train --output=js")] == ["json"]
    assert complete("mlctl train --tracking-uri ") == []
    assert not (tmp_path / "called").exists(), "a static completion started mlctl"


@pytest.mark.parametrize("complete", SHELLS)
def test_the_real_script_knows_the_real_commands(complete: Complete, here: Path, tmp_path: Path) -> None:
    from mlctl.cli.shells.tree import tree

    assert complete("mlctl tr", tree())[:1] == ["train"]
    assert sorted(complete("mlctl recipes ", tree())) == ["check", "copy", "list", "show"]
    assert complete("mlctl recipes show hou", tree()) == ["housing"]
    assert complete("mlctl completion install fi", tree()) == ["fish"]
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize("complete", SHELLS)
@pytest.mark.usefixtures("asking")
def test_runs_come_from_the_store(complete: Complete) -> None:
    offered = complete("mlctl runs show ")
    assert {"last", "best", "digits-0999"} <= set(offered)
    assert "deleted-run" not in offered
    assert len(complete("mlctl runs show digits-09")) == 100
    assert complete("mlctl runs show 0102") == ["0102" + "f" * 28]
    assert complete("mlctl runs diff last digits-0123") == ["digits-0123"]
    assert complete("mlctl runs show last digits-0123") == []  # show takes one run, diff as many as there are


@pytest.mark.parametrize("complete", SHELLS)
@pytest.mark.usefixtures("asking")
def test_models_versions_and_stages_come_from_the_store(complete: Complete) -> None:
    assert complete("mlctl promote wi") == ["wine-quality"]
    assert sorted(complete("mlctl promote -o json wine-quality ")) == ["1", "2", "3"]
    assert complete("mlctl promote wine-quality 2 Prod") == ["Production"]
    assert complete("mlctl predict wine-quality/2") == ["wine-quality/2"]
    assert complete("mlctl predict wine-quality@ch") == ["wine-quality@champion"]
    assert "mine.py" in complete("mlctl predict mi")


@pytest.mark.parametrize("complete", SHELLS)
def test_a_tracking_uri_typed_already_is_asked(
    complete: Complete, asking: None, thousand_runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///nowhere.db")
    assert complete("mlctl runs show fir") == []
    assert complete(f"mlctl runs show --tracking-uri {thousand_runs} fir") == ["first"]
    assert complete(f"mlctl runs show --tracking-uri '{thousand_runs}' fir") == ["first"]
    assert not Path("nowhere.db").exists()


@pytest.mark.parametrize("shell", [pytest.param(one, marks=pytest.mark.needs(one)) for one in FILES])
@pytest.mark.usefixtures("asking")
def test_odd_names_reach_the_command_whole(shell: str, tmp_path: Path) -> None:
    """Type the beginning, TAB and Enter into a shell: the program gets the name as one argument."""
    got = tmp_path / "got"
    _program(
        tmp_path,
        f'[ "$1" = __complete ] && exec {shlex.quote(sys.executable)} -m mlctl "$@"\n'
        f'printf "%s\\n" "$@" > {got}.part; mv {got}.part {got}',
    )
    session = _interactive(shell)
    for name in stores.ODD_NAMES:
        typed = name[:4].partition(" ")[0].replace("'", "\\'")
        session.send(f"mlctl runs show {typed}\t")
        session.expect_exact(_last_word(name))
        session.send("\r")
        for _ in range(100):
            if got.exists():
                break
            session.expect([pexpect.TIMEOUT, "\x00"], timeout=0.05)
        assert got.read_text(encoding="utf-8").splitlines() == ["runs", "show", name]
        got.unlink()
    session.close(force=True)


def _last_word(name: str) -> str:
    return re.findall(r"\w+", name)[-1]


def _interactive(shell: str) -> pexpect.spawn[str]:
    file = Path("f") / FILES[shell]
    file.parent.mkdir(exist_ok=True)
    file.write_text(RENDER[shell](SMALL), encoding="utf-8")
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
@pytest.mark.usefixtures("asking")
def test_a_store_that_is_away_offers_nothing(complete: Complete, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert complete("mlctl runs show ") == []
