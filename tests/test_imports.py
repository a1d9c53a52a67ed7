"""Fast start: completion and help load no heavy library."""

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


def loaded_modules(*arguments: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES, *arguments], capture_output=True, text=True, check=True
    )
    return set(result.stdout.splitlines())


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
def test_heavy_libraries_are_not_loaded(line: str) -> None:
    modules = loaded_modules(*line.split())
    assert "mlctl.__main__" in modules
    assert not HEAVY & {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("line", ["--version", "__complete RUN x"])
def test_completion_and_version_load_neither_typer_nor_rich(line: str) -> None:
    assert not {"typer", "rich"} & {module.partition(".")[0] for module in loaded_modules(*line.split())}


def test_help_of_the_root_imports_no_command() -> None:
    from mlctl.cli.commands import COMMANDS

    modules = loaded_modules("--help")
    targets = {target for entry in COMMANDS.values() for target in entry.targets}
    assert not {f"mlctl.cli.{target.partition(':')[0]}" for target in targets} & modules
    assert not {"mlctl.settings", "mlctl.output"} & modules
    assert "mlctl.cli.runs" not in loaded_modules("train", "--help")


@pytest.mark.parametrize("line", ["train nothing", "train absent.py --script", "train -m absent.module"])
def test_a_wrong_request_does_not_wait_for_a_framework(line: str) -> None:
    modules = {module.partition(".")[0] for module in loaded_modules(*line.split())}
    assert not {"mlflow", "keras", "tensorflow", "matplotlib"} & modules
