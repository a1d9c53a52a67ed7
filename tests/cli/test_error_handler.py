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

from mlctl.cli.commands import COMMANDS

ANSI = "\x1b["
# a command line with commands of its own below the real root, error handler and session
HARNESS = """
import sys, time, typer
from mlctl.cli import app, commands
from mlctl.cli.common_options import Session
from mlctl.domain.recipes import RecipeInfo, RecipeList
from mlctl.errors import BadDataError

def boom(session: Session) -> None:
    '''Fail with a bug.'''
    secret = 'a local value'
    raise ValueError('first line\\nsecond line ' + 'x' * 500)

def bad(session: Session) -> None:
    '''Fail with an error of mlctl.'''
    raise BadDataError('row 7 of wine.csv:\\nnot a number', 'fix it')

def many(session: Session) -> None:
    '''Answer with more than a pipe buffers.'''
    rows = tuple(RecipeInfo(f'recipe-{n}', 'what it does ' * 8, 'built in') for n in range(4_000))
    session.show(RecipeList(rows), 'next: nothing')

def some(session: Session) -> None:
    '''Answer with a wide table.'''
    print('not part of the answer')
    session.show(RecipeList((RecipeInfo('wine', 'what it does ' * 12 + 'end', 'built in'),)), 'next: nothing')

def wait(session: Session) -> None:
    '''Wait for an interrupt.'''
    with session.redirect_to_stdout():
        print('waiting', flush=True)
    time.sleep(60)

def full(session: Session) -> None:
    '''Fail because the disk is full.'''
    raise OSError(28, 'No space left on device', 'out.csv')

this = sys.modules['mlctl.cli.harness'] = sys.modules['__main__']
for name in ('boom', 'bad', 'many', 'some', 'wait', 'full'):
    commands.COMMANDS[name] = commands.CommandEntry('Test', 'Test.', f'harness:{name}')
sys.exit(app.run(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    file = tmp_path_factory.mktemp("harness") / "harness.py"
    file.write_text(HARNESS, encoding="utf-8")
    return [sys.executable, str(file)]


def run(command: list[str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, timeout=60
    )


def test_typo_gets_a_suggestion_and_exits_with_2(harness: list[str]) -> None:
    result = run(harness, "trian", "digits")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == ["error: no such command 'trian'", "hint: did you mean 'train'?"]


@pytest.mark.parametrize(
    ("line", "problem", "hint"),
    [
        ("recipes lst", "lst", "did you mean 'list'?"),
        ("recipes list --outptu json", "--outptu", "did you mean --output?"),
        ("recipes list -o yaml", "yaml", "mlctl recipes list --help"),
        ("recipes show", "RECIPE", "mlctl recipes show --help"),
        ("recipes show a b", "b", "mlctl recipes show --help"),
        ("--nonsense", "--nonsense", "mlctl --help"),
        ("recipes list --debug=3", "--debug", "--help"),
        ("endpoints logs x --lines y", "it must be a valid integer", "mlctl endpoints logs --help"),
        ("predict Digits --sample 3 --out x.csv", "--sample and --out", "omit --out"),
    ],
)
def test_usage_errors_are_two_lines_and_exit_with_2(
    harness: list[str], line: str, problem: str, hint: str
) -> None:
    result = run(harness, *line.split())
    assert (result.returncode, result.stdout) == (2, "")
    error, next_step = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert problem in error
    assert next_step.startswith("hint: ")
    assert hint in next_step


@pytest.mark.parametrize("form", [["-o", "json"], ["-ojson"], ["--output", "json"], ["--output=json"]])
def test_errors_are_json_on_stderr_with_output_json(harness: list[str], form: list[str]) -> None:
    result = run(harness, "bad", *form)
    assert (result.returncode, result.stdout) == (8, "")
    assert json.loads(result.stderr) == {
        "error": {"code": "bad_data", "message": "row 7 of wine.csv:\nnot a number", "hint": "fix it"}
    }
    usage = run(harness, "recipes", "show", *form)
    assert (usage.returncode, usage.stdout) == (2, "")
    assert json.loads(usage.stderr)["error"]["code"] == "usage"
    bug = run(harness, "boom", *form)
    assert json.loads(bug.stderr)["error"]["code"] == "bug"


def test_error_and_hint_are_one_line_each(harness: list[str]) -> None:
    result = run(harness, "bad")
    assert (result.returncode, result.stdout) == (8, "")
    assert result.stderr == "error: row 7 of wine.csv: not a number\nhint: fix it\n"


def test_bug_is_one_line_and_has_a_traceback_only_with_debug(harness: list[str]) -> None:
    result = run(harness, "boom")
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 2
    assert "ValueError: first line second line xxx" in result.stderr
    assert max(map(len, result.stderr.splitlines())) < 400
    debugged = run(harness, "boom", "--debug")
    assert debugged.returncode == 1
    assert "Traceback" in debugged.stderr
    assert "raise ValueError" in debugged.stderr
    assert "a local value" not in debugged.stderr.replace("secret = 'a local value'", "")


def test_debug_with_json_ends_with_one_document(harness: list[str]) -> None:
    lines = run(harness, "boom", "--debug", "-o", "json").stderr.splitlines()
    assert json.loads(lines[-1])["error"]["code"] == "bug"


def test_full_disk_is_refused_and_not_a_bug(harness: list[str]) -> None:
    result = run(harness, "full")
    assert result.returncode == 4
    assert "No space left on device" in result.stderr


@pytest.mark.parametrize("line", ["--help", "recipes list --help", "recipes list", "trian", "some"])
def test_pipe_gets_no_ansi_codes_unless_forced(harness: list[str], line: str) -> None:
    plain = run(harness, *line.split())
    assert ANSI not in plain.stdout + plain.stderr
    assert "\b" not in plain.stdout
    forced = run(harness, *line.split(), FORCE_COLOR="1")
    assert ANSI in forced.stdout + forced.stderr
    both = run(harness, *line.split(), FORCE_COLOR="1", NO_COLOR="1")
    assert not any(f"{ANSI}3{colour}" in both.stdout + both.stderr for colour in range(8))


def test_pipe_gets_lines_of_any_length(harness: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    result = subprocess.run([*harness, "some"], capture_output=True, text=True, env=environment)
    assert "end" in result.stdout.splitlines()[1]
    assert len(result.stdout.splitlines()) == 2


def test_columns_wrap_lines_in_a_pipe_without_truncation(harness: list[str]) -> None:
    result = run(harness, "some", COLUMNS="60")
    assert max(map(len, result.stdout.splitlines())) <= 60
    assert "…" not in result.stdout
    assert " ".join(result.stdout.split()).endswith("does end")


@pytest.mark.parametrize(("columns", "term"), [(80, "xterm-256color"), (120, "xterm-256color"), (80, "dumb")])
def test_output_fits_the_terminal(harness: list[str], columns: int, term: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"} | {"TERM": term}
    for line in (["--help"], ["recipes", "show", "--help"], ["some"], ["trian"]):
        shown, _ = _run_on_terminal([*harness, *line], environment, columns)
        assert (ANSI in shown) == (term != "dumb")
        plain = _without_codes(shown)
        limit = columns if line[0] != "trian" else 200
        assert max(map(len, plain.splitlines())) <= limit


def _run_on_terminal(command: list[str], environment: dict[str, str], columns: int) -> tuple[str, int]:
    child = pexpect.spawn(
        command[0], command[1:], env=environment, encoding="utf-8", dimensions=(50, columns), timeout=30
    )
    child.expect(pexpect.EOF)
    child.close()
    return str(child.before), child.exitstatus or 0


def _without_codes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_columns_set_the_width_of_help(harness: list[str]) -> None:
    result = run(harness, "--help", COLUMNS="60")
    assert max(map(len, result.stdout.splitlines())) == 60


@pytest.mark.parametrize("form", ["table", "json", "csv", "md"])
def test_closed_pipe_is_no_error(harness: list[str], form: str) -> None:
    # if stdout is unbuffered, Python takes a short write for a complete one and misses that the reader left
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    command = [*harness, "many", "-o", form]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    stderr = process.stderr.read().decode()
    assert (process.wait(30), stderr) == (0, "")
    process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_exits_with_130_without_traceback(harness: list[str], number: signal.Signals) -> None:
    process = subprocess.Popen([*harness, "wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert stderr == "interrupted\n"


def test_group_without_a_command_shows_its_help(harness: list[str]) -> None:
    result = run(harness, "recipes")
    assert (result.returncode, result.stderr) == (0, "")
    assert "Usage: mlctl recipes" in result.stdout


def test_no_arguments_show_a_start_page_whose_commands_exist(harness: list[str]) -> None:
    result = run(harness)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) <= 15
    assert max(map(len, lines)) <= 80
    named = re.findall(r"^  mlctl ([a-z]+)", result.stdout, re.MULTILINE)
    assert {"train", "runs", "register", "serve"} <= set(named) <= set(COMMANDS)


def test_short_help_option_and_version(harness: list[str]) -> None:
    assert run(harness, "-h").stdout == run(harness, "--help").stdout
    result = run([sys.executable, "-m", "mlctl"], "--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("mlctl ")
    assert run(harness, "--version").stdout == result.stdout


def test_full_stdout_is_reported_in_one_line(harness: list[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has /dev/full")
    with Path("/dev/full").open("w") as full:
        result = subprocess.run([*harness, "some"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 4
    assert "No space left" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr
