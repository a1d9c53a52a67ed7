"""Start-up stays light: what is shown on every TAB and every --help loads none of the heavy libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "mlflow",
    "keras",
    "tensorflow",
    "numpy",
    "pandas",
    "boto3",
    "botocore",
    "sklearn",
    "scipy",
    "matplotlib",
}
PRINT_MODULES = """
import sys, contextlib, io
from mlctl.__main__ import main
sys.argv = ["mlctl", *sys.argv[1:]]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print("\\n".join(sys.modules))
"""


def loaded(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines())


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "train --help",
        "runs --help",
        "trian",
        "--version",
        "__complete RUN x",
        "completion show zsh",
    ],
)
def test_nothing_heavy_is_loaded(line: str) -> None:
    modules = loaded(*line.split())
    assert "mlctl.__main__" in modules
    assert not HEAVY & {one.partition(".")[0] for one in modules}


@pytest.mark.parametrize("line", ["--version", "__complete RUN x"])
def test_neither_typer_nor_rich_is_loaded_for_a_tab_or_the_version(line: str) -> None:
    assert not {"typer", "rich"} & {one.partition(".")[0] for one in loaded(*line.split())}


def test_help_imports_no_command() -> None:
    from mlctl.cli.commands import COMMANDS

    modules = loaded("--help")
    assert not {f"mlctl.cli.{entry.target.partition(':')[0]}" for entry in COMMANDS.values()} & modules
    assert not {"mlctl.settings", "mlctl.output"} & modules
    assert "mlctl.cli.runs" not in loaded("train", "--help")
