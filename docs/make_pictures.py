"""Make the terminal pictures of README: run each command and save its output as SVG.

python docs/make_pictures.py
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parent / "pictures"
WIDTH = 100
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
}
SHOWN_COMMANDS = {"train": 1, "look": 2, "promote": 2, "tune": 1}  # only the last ones are in the picture


def main() -> None:
    """Run all commands in one empty folder, and write the pictures."""
    PICTURES.mkdir(exist_ok=True)
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    with tempfile.TemporaryDirectory() as folder:
        environment["MLCTL_STATE_DIR"] = folder + "/state"
        for name, commands in COMMANDS.items():
            screen = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
            for number, command in enumerate(commands):
                done = subprocess.run(
                    [sys.executable, "-m", *shlex.split(command)],
                    cwd=folder,
                    env=environment,
                    text=True,
                    check=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                if number >= len(commands) - SHOWN_COMMANDS[name]:
                    screen.print(Text.assemble(("$ ", "green"), (command, "bold")))
                    screen.print(Text.from_ansi(done.stdout))
            picture = PICTURES / f"{name}.svg"
            picture.write_text(screen.export_svg(title="mlctl"), encoding="utf-8")
            print(f"wrote {picture}")


if __name__ == "__main__":
    main()
