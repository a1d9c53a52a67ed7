"""The contract of the command line: streams, exit codes, colours, pipes and interrupts, in real processes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

ANSI = "\x1b["
# a command line with commands of its own below the real root, boundary and session
HARNESS = """
import sys, time, typer
from mlctl.cli import app, commands
from mlctl.cli.session import Session, answering
from mlctl.domain import RecipeInfo, RecipeList
from mlctl.errors import BadDataError

def boom(session: Session) -> None:
    '''Fail as no one foresaw.'''
    secret = 'a local value'
    raise ValueError('first line\\nsecond line ' + 'x' * 500)

def bad(session: Session) -> None:
    '''Fail as foreseen.'''
    raise BadDataError('row 7 of wine.csv:\\nnot a number', 'mend it')

def many(session: Session) -> None:
    '''Answer with more than a pipe holds.'''
    rows = tuple(RecipeInfo(f'recipe-{n}', 'what it does ' * 8, 'built in') for n in range(4_000))
    session.show(RecipeList(rows), 'next: nothing')

def some(session: Session) -> None:
    '''Answer with a table that is wide.'''
    print('not meant as an answer')
    session.show(RecipeList((RecipeInfo('wine', 'what it does ' * 12 + 'end', 'built in'),)), 'next: nothing')

def wait(session: Session) -> None:
    '''Wait to be interrupted.'''
    with session.answer():
        print('waiting', flush=True)
    time.sleep(60)

def full(session: Session) -> None:
    '''Find the disk full.'''
    raise OSError(28, 'No space left on device', 'out.csv')

this = sys.modules['mlctl.cli.harness'] = sys.modules['__main__']
for name in ('boom', 'bad', 'many', 'some', 'wait', 'full'):
    commands.COMMANDS[name] = commands.Entry(f'harness:{name}', 'Test', 'Test.')
sys.exit(app.run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    file = tmp_path_factory.mktemp("harness") / "harness.py"
    file.write_text(HARNESS, encoding="utf-8")
    return [sys.executable, str(file)]


def ran(command: list[str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )


def test_a_typo_gets_a_suggestion_and_exit_2(harness: list[str]) -> None:
    done = ran(harness, "trian", "digits")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["error: No such command 'trian'", "hint: did you mean 'train'?"]


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("recipes lst", "lst", "did you mean 'list'?"),
        ("recipes list --outptu json", "--outptu", "did you mean --output?"),
        ("recipes list -o yaml", "yaml", "mlctl recipes list --help"),
        ("recipes show", "RECIPE", "mlctl recipes show --help"),
        ("recipes show a b", "b", "mlctl recipes show --help"),
        ("--nonsense", "--nonsense", "mlctl --help"),
        ("recipes list --debug=3", "--debug", "--help"),
    ],
)
def test_every_usage_error_is_two_lines_and_exit_2(
    harness: list[str], line: str, said: str, hint: str
) -> None:
    done = ran(harness, *line.split())
    assert (done.returncode, done.stdout) == (2, "")
    error, next_step = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert said in error
    assert next_step.startswith("hint: ")
    assert hint in next_step


@pytest.mark.parametrize("form", [["-o", "json"], ["-ojson"], ["--output", "json"], ["--output=json"]])
def test_errors_are_json_on_stderr_where_json_is_asked_for(harness: list[str], form: list[str]) -> None:
    done = ran(harness, "bad", *form)
    assert (done.returncode, done.stdout) == (8, "")
    assert json.loads(done.stderr) == {
        "error": {"code": "bad_data", "message": "row 7 of wine.csv:\nnot a number", "hint": "mend it"}
    }
    usage = ran(harness, "recipes", "show", *form)
    assert (usage.returncode, usage.stdout) == (2, "")
    assert json.loads(usage.stderr)["error"]["code"] == "usage"
    bug = ran(harness, "boom", *form)
    assert json.loads(bug.stderr)["error"]["code"] == "bug"


def test_an_error_is_one_line_and_its_hint_another(harness: list[str]) -> None:
    done = ran(harness, "bad")
    assert (done.returncode, done.stdout) == (8, "")
    assert done.stderr == "error: row 7 of wine.csv: not a number\nhint: mend it\n"


def test_a_bug_is_one_line_and_a_traceback_under_debug_alone(harness: list[str]) -> None:
    done = ran(harness, "boom")
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 2
    assert "ValueError: first line second line xxx" in done.stderr
    assert max(map(len, done.stderr.splitlines())) < 400
    told = ran(harness, "boom", "--debug")
    assert told.returncode == 1
    assert "Traceback" in told.stderr
    assert "raise ValueError" in told.stderr
    assert "a local value" not in told.stderr.replace("secret = 'a local value'", "")


def test_debug_and_json_together_still_end_in_one_document(harness: list[str]) -> None:
    lines = ran(harness, "boom", "--debug", "-o", "json").stderr.splitlines()
    assert json.loads(lines[-1])["error"]["code"] == "bug"


def test_a_full_disk_is_no_bug(harness: list[str]) -> None:
    done = ran(harness, "full")
    assert done.returncode == 4
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("line", ["--help", "recipes list --help", "recipes list", "trian", "some"])
def test_no_codes_in_a_pipe_unless_forced(harness: list[str], line: str) -> None:
    plain = ran(harness, *line.split())
    assert ANSI not in plain.stdout + plain.stderr
    assert "\b" not in plain.stdout
    forced = ran(harness, *line.split(), FORCE_COLOR="1")
    assert ANSI in forced.stdout + forced.stderr
    both = ran(harness, *line.split(), FORCE_COLOR="1", NO_COLOR="1")
    assert not any(f"{ANSI}3{colour}" in both.stdout + both.stderr for colour in range(8))


def test_a_pipe_gets_whole_lines(harness: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    done = subprocess.run([*harness, "some"], capture_output=True, text=True, env=environment)
    assert "end" in done.stdout.splitlines()[1]
    assert len(done.stdout.splitlines()) == 2


def test_a_pipe_of_given_columns_wraps_and_cuts_nothing_off(harness: list[str]) -> None:
    done = ran(harness, "some", COLUMNS="60")
    assert max(map(len, done.stdout.splitlines())) <= 60
    assert "…" not in done.stdout
    assert " ".join(done.stdout.split()).endswith("does end")


@pytest.mark.parametrize(("columns", "term"), [(80, "xterm-256color"), (120, "xterm-256color"), (80, "dumb")])
def test_a_terminal_is_filled_and_never_overflowed(harness: list[str], columns: int, term: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"} | {"TERM": term}
    for line in (["--help"], ["recipes", "show", "--help"], ["some"], ["trian"]):
        shown, _ = _on_terminal([*harness, *line], environment, columns)
        assert (ANSI in shown) == (term != "dumb")
        plain = _without_codes(shown)
        limit = columns if line[0] != "trian" else 200
        assert max(len(one) for one in plain.splitlines()) <= limit


def _on_terminal(command: list[str], environment: dict[str, str], columns: int) -> tuple[str, int]:
    child = pexpect.spawn(
        command[0], command[1:], env=environment, encoding="utf-8", dimensions=(50, columns), timeout=30
    )
    child.expect(pexpect.EOF)
    child.close()
    return str(child.before), child.exitstatus or 0


def _without_codes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_columns_are_honoured(harness: list[str]) -> None:
    done = ran(harness, "--help", COLUMNS="60")
    assert max(map(len, done.stdout.splitlines())) == 60


@pytest.mark.parametrize("form", ["table", "json", "csv", "md"])
def test_a_reader_that_leaves_is_no_error(harness: list[str], form: str) -> None:
    # unbuffered, Python itself takes a short write for a whole one, and never learns that the reader left
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    command = [*harness, "many", "-o", form]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read().decode()
    assert (process.wait(30), said) == (0, "")
    process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_130_and_no_traceback(harness: list[str], number: signal.Signals) -> None:
    process = subprocess.Popen([*harness, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said == "error: interrupted\n"


def test_a_group_without_its_command_shows_its_help(harness: list[str]) -> None:
    for line in ([], ["recipes"]):
        done = ran(harness, *line)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage: mlctl" in done.stdout


def test_h_and_version(harness: list[str]) -> None:
    assert ran(harness, "-h").stdout == ran(harness, "--help").stdout
    done = ran([sys.executable, "-m", "mlctl"], "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("mlctl ")
    assert ran(harness, "--version").stdout == done.stdout


def test_a_closed_stdout_is_told_in_one_line(harness: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is Linux's")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*harness, "some"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 4
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
