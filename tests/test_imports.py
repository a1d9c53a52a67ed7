"""Fast start: completion, help and the commands that look load no heavy library."""

from __future__ import annotations

import json
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


READING = (
    "runs list",
    "runs list --where val_f1>0.5 --sort -val_f1",
    "runs show steady",
    "runs diff peak steady",
    "runs watch steady",
    "experiments",
    "models list",
    "models show Toy",
    "models history Toy",
    "recipes list",
    "recipes show digits",
    "endpoints list",
    "doctor",
)
WRITING = (
    "promote Toy 1 Staging",
    "models set Toy 1 --description text --tag team=a",
    "runs delete broken --yes",
)
HEAVY_AFTER_EACH = """
import contextlib, io, json, sys
from mlctl.cli.app import run
heavy, lines = json.loads(sys.argv[1])
for line in lines:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = run(line.split())
    print(code, line, *sorted(set(heavy) & {name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_commands_that_look_or_change_one_thing_load_no_heavy_library(
    kind: str, own_store: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    lines = [*READING, *WRITING]
    uri = own_store
    if kind == "server":
        uri = request.getfixturevalue("server")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        lines = [line for line in READING if "Toy" not in line]  # other tests share this server
    else:
        client = mlflow.MlflowClient(uri, registry_uri=uri)
        run = client.search_runs([client.get_experiment_by_name("toy").experiment_id], max_results=1)[0]
        client.create_registered_model("Toy")
        for _ in range(2):
            client.create_model_version("Toy", "/nowhere", run.info.run_id)
    heavy = sorted({*HEAVY, "sqlalchemy", "pyarrow", "PIL"})
    done = subprocess.run(
        [sys.executable, "-c", HEAVY_AFTER_EACH, json.dumps([heavy, lines])],
        capture_output=True,
        text=True,
        check=True,
    )
    found = [
        line.replace("5 doctor", "0 doctor") for line in done.stdout.splitlines()
    ]  # it may find something
    assert found == [f"0 {line}" for line in lines], done.stderr
