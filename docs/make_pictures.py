"""Make the terminal pictures of README and screens.md: run each command and save its output as SVG.

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
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                if done.returncode not in {0, FINDINGS}:
                    raise SystemExit(done.stdout)
                if number >= len(commands) - SHOWN_COMMANDS.get(name, len(commands)):
                    screen.print(Text.assemble(("$ ", "green"), (command, "bold")))
                    shown = done.stdout.replace(folder, "~/demo").replace(str(Path.home()), "~")
                    screen.print(Text.from_ansi(shown))
            picture = PICTURES / f"{name}.svg"
            picture.write_text(screen.export_svg(title="mlctl"), encoding="utf-8")
            print(f"wrote {picture}")


if __name__ == "__main__":
    main()
