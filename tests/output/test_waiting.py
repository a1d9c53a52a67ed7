"""The spinner of a command that has not printed anything yet."""

from __future__ import annotations

import importlib
import io
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

import pytest

from mlctl.output import waiting

pytestmark = pytest.mark.unit


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    encoding = "utf-8"  # type: ignore[assignment]  # the base has a property

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(waiting, "DELAY_S", 0.01)
    return Terminal()


def wait_for(terminal: Terminal, text: str) -> None:
    end = time.monotonic() + 20
    while text not in terminal.getvalue():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_spinner_is_erased_before_the_first_output(terminal: Terminal) -> None:
    with redirect_stderr(terminal):
        with waiting.shown("reading the runs"):
            wait_for(terminal, "reading the runs")
            print("the answer", file=sys.stderr)
            shown = terminal.getvalue()
            time.sleep(0.25)
            assert terminal.getvalue() == shown  # it does not come back
        assert sys.stderr is terminal
    assert terminal.getvalue() == shown
    assert shown.endswith(f"{waiting.ERASE_LINE}the answer\n")


@pytest.mark.parametrize("write", ["stdout", "flush", "end", "error"])
def test_the_spinner_is_erased_by_anything_that_ends_the_wait(terminal: Terminal, write: str) -> None:
    try:
        with redirect_stderr(terminal), redirect_stdout(io.StringIO()), waiting.shown("working"):
            wait_for(terminal, "working")
            if write == "stdout":
                print("the answer")
                assert terminal.getvalue().endswith(waiting.ERASE_LINE)
            elif write == "flush":
                sys.stderr.flush()
                assert terminal.getvalue().endswith(waiting.ERASE_LINE)
            elif write == "error":
                raise ValueError  # noqa: TRY301  # the block fails here
    except ValueError:
        assert write == "error"
    assert terminal.getvalue().endswith(waiting.ERASE_LINE)


def test_it_says_which_package_is_being_imported(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    class Spec:
        _initializing = True

    class Module:
        __spec__ = Spec()

    monkeypatch.setitem(sys.modules, "ray", Module())  # type: ignore[arg-type]
    with redirect_stderr(terminal), waiting.shown("working"):
        wait_for(terminal, "loading Ray")


def test_it_is_drawn_before_an_import_that_keeps_threads_waiting(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "DELAY_S", 60)
    monkeypatch.setattr(waiting, "LARGE_PACKAGES", {"large_package": "LargePackage"})
    finders = list(sys.meta_path)
    with redirect_stderr(terminal), waiting.shown("working"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("large_package")
        assert terminal.getvalue().endswith(" loading LargePackage")
    assert terminal.getvalue().endswith(waiting.ERASE_LINE)
    assert sys.meta_path == finders


@pytest.mark.parametrize("kind", ["dumb", "pipe"])
def test_there_is_no_spinner_without_a_terminal(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal() if kind == "dumb" else io.StringIO()
    monkeypatch.setenv("TERM", "dumb" if kind == "dumb" else "xterm")
    with redirect_stderr(stream), waiting.shown("working"):
        assert sys.stderr is stream
    assert stream.getvalue() == ""
