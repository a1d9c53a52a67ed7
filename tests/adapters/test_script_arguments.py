"""The arguments of a script, as the library that parses them has understood them; and what the script prints."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from typing import Any

import pytest

from mlctl.adapters.scripts.output import HEAD, PrintedOutput
from mlctl.adapters.scripts.plain_values import plain
from mlctl.adapters.scripts.script_arguments import parsed_arguments

pytestmark = pytest.mark.unit


def parsed(monkeypatch: pytest.MonkeyPatch, parse: Callable[[], Any], *arguments: str) -> dict[str, str]:
    found: dict[str, str] = {}
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with parsed_arguments(found.update):
        parse()
    return found


def test_argparse_with_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse() -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("data")
        parser.add_argument("--batch-size", "-b", type=int, default=50)
        parser.add_argument("--units", nargs="+", type=int, default=[8, 4])
        parser.add_argument("--fast", action="store_true")
        parser.add_argument("--note")
        commands = parser.add_subparsers(dest="command")
        commands.add_parser("fit").add_argument("--lr", type=float, default=0.1)
        commands.add_parser("test").add_argument("--rows", default=1)
        parser.parse_args()
        argparse.ArgumentParser().parse_known_args(["--of", "a file"])  # not the script's own

    assert parsed(monkeypatch, parse, "rows.csv", "-b", "25", "fit") == {
        "data": "rows.csv",
        "batch-size": "25",
        "units": "8,4",
        "fast": "false",
        "command": "fit",
        "lr": "0.1",
    }


def test_click_and_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    app = typer.Typer()

    @app.command()
    def main(
        epochs: int = 3, learning_rate: float = typer.Option(0.1, "--lr"), verbose: bool = False
    ) -> None:
        """Train."""

    assert parsed(monkeypatch, lambda: app(standalone_mode=False), "--epochs", "2") == {
        "epochs": "2",
        "lr": "0.1",
        "verbose": "false",
    }


def test_absl_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = pytest.importorskip("absl.flags")
    values = flags.FlagValues()
    flags.DEFINE_float("rate", 0.5, "rate", flag_values=values)
    flags.DEFINE_bool("fast", False, "fast", flag_values=values)
    assert parsed(monkeypatch, lambda: values(["train.py", "--rate=2"])) == {"rate": "2.0", "fast": "false"}


def test_an_argument_that_cannot_be_read_breaks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        def __str__(self) -> str:
            raise ValueError

    def parse() -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("--odd", default=Odd())
        parser.parse_args()

    assert parsed(monkeypatch, parse) == {}


def test_what_is_printed_is_kept_as_a_terminal_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stdout", terminal)
    output = PrintedOutput()
    with output.recorded():
        print("\x1b[1mbold\x1b[0m")
        for step in range(3):
            sys.stdout.write(f"\r{step}/2")
        print()
        with output.paused():
            print("of mlctl")
        sys.stderr.write("a warning")
    print("later")
    assert output.text() == "bold\n2/2\na warning\n"
    assert "of mlctl" in terminal.getvalue()


def test_long_output_keeps_its_beginning_and_its_end() -> None:
    output = PrintedOutput()
    for number in range(700):
        output.add(f"{number:03} " + "x" * 9_000 + "\n")
    text = output.text()
    assert len(text) < 3 * HEAD
    assert text.startswith("000 ")
    assert "\n699 " in text
    assert "lines are left out" in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.019999999552965164, 0.02),
        (0.9, 0.9),
        (1e-7, 1e-7),
        (True, True),
        (
            {
                "class_name": "ExponentialDecay",
                "config": {"initial_learning_rate": 0.1, "decay_steps": 5, "name": "a"},
            },
            "ExponentialDecay(initial_learning_rate=0.1, decay_steps=5)",
        ),
        ({"a": 0.5, "b": 1}, "a: 0.5, b: 1"),
        ([1, 2.0], "1, 2.0"),
    ],
)
def test_settings_are_written_as_the_script_writes_them(value: Any, expected: Any) -> None:
    assert plain(value) == expected
