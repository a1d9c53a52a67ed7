"""Make the terminal pictures of README and screens.md: run each command and save its output as SVG.

python docs/make_pictures.py
"""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import shlex
import sys
import tempfile
import termios
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parent / "pictures"
WIDTH = 80
COMMANDS = {
    "train": ["mlctl train digits --epochs 12 --run-name first"],
    "look": [
        "mlctl train digits --epochs 6 --run-name short",
        "mlctl train digits --epochs 12 --set units=128 --run-name wide",
        "mlctl runs list",
        "mlctl runs diff first wide",
    ],
    "promote": [
        "mlctl register short Digits",
        "mlctl register wide Digits",
        "mlctl promote Digits 1 Production --reason 'the first'",
        "mlctl promote Digits 2 Production --no-regress test_accuracy --reason wider",
        "mlctl models history Digits",
    ],
    "tune": ["mlctl tune digits --trials 6 --epochs 5 -P 2 --stop median:delay=1 --run-name searched"],
    "start": ["mlctl"],
    "runs": [
        "mlctl runs list",
        "mlctl runs show wide",
        "mlctl runs plot wide short",
        "mlctl runs artifacts wide",
        "mlctl runs watch wide",
        "mlctl experiments list",
    ],
    "registry": [
        "mlctl models list",
        "mlctl models show Digits",
        "mlctl models show Digits 2",
        "mlctl models diff Digits 1 2",
        "mlctl models history Digits",
        "mlctl rollback Digits Production --dry-run",
    ],
    "recipes": ["mlctl recipes list", "mlctl recipes show digits", "mlctl tune digits --dry-run"],
    "serving": [
        "mlctl serve Digits --detach --port 0 --name demo",
        "mlctl endpoints list",
        "mlctl predict Digits --sample 3",
        "mlctl endpoints stop demo --yes",
        "mlctl doctor",
    ],
}
SHOWN_COMMANDS = {"train": 1, "look": 2, "promote": 2, "tune": 1}  # only the last ones; of others all
FINDINGS = 5  # the exit code of a doctor that found something


REPOSITORY = Path(__file__).parents[1]
CONTROL = re.compile(r"(\x1b\[\??[0-9;]*[A-Za-z]|\r|\n)")


def main() -> None:
    """Run all commands in one empty folder, and write the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLCTL_", "MLFLOW_"))
        }
        environment = own | {"TERM": "xterm-256color", "MLCTL_STATE_DIR": folder + "/state"}
        names = {folder: "~/demo", str(REPOSITORY): "~/mlctl", str(Path.home()): "~"}
        for name, commands in COMMANDS.items():
            screen = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
            for number, command in enumerate(commands):
                shown = settle(run_on_terminal(command, folder, environment))
                if number >= len(commands) - SHOWN_COMMANDS.get(name, len(commands)):
                    for path, short in names.items():
                        shown = replace_path(shown, path, short)
                    screen.print(Text.assemble(("$ ", "green"), (command, "bold")))
                    screen.print(Text.from_ansi(shown))
            picture = PICTURES / f"{name}.svg"
            picture.write_text(screen.export_svg(title="mlctl"), encoding="utf-8")
            print(f"wrote {picture}")


def replace_path(shown: str, path: str, short: str) -> str:
    """Return a text with a shorter path; the columns of a table stay where they are."""

    def shorten(found: re.Match[str]) -> str:
        rest, gap = found.groups()
        return short + rest + (gap.ljust(len(gap) + len(path) - len(short)) if gap else "")

    return re.sub(re.escape(path) + r"(\S*)(  )?", shorten, shown)


def run_on_terminal(command: str, folder: str, environment: Mapping[str, str]) -> str:
    """Run a command on a terminal of its own; return what it wrote. Raises SystemExit with that if it fails."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        program = [sys.executable, "-m", *shlex.split(command)]
        os.execve(sys.executable, program, dict(environment))  # noqa: S606  # the commands are those above
    termios.tcsetwinsize(terminal, (50, WIDTH))
    written = b""
    with contextlib.suppress(OSError):  # the terminal is closed at the end
        while block := os.read(terminal, 65_536):
            written += block
    _, status = os.waitpid(child, 0)
    text = written.decode()
    if os.waitstatus_to_exitcode(status) not in {0, FINDINGS}:
        raise SystemExit(text)
    return text


def settle(written: str) -> str:
    """Return the lines that stay on the terminal, with their colours, after all that was drawn over."""
    lines, row, is_at_start = [""], 0, True
    for piece in CONTROL.split(written):
        if piece == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif piece == "\r":
            is_at_start = True
        elif piece.startswith("\x1b[") and piece.endswith("A"):
            row = max(0, row - int(piece[2:-1] or 1))
        elif piece.startswith("\x1b[") and piece.endswith("K"):
            lines[row] = ""
        elif piece.endswith("m") or not piece.startswith("\x1b["):
            lines[row] = piece if is_at_start and piece else lines[row] + piece
            is_at_start = is_at_start and not piece
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    main()
