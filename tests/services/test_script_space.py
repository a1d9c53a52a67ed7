"""A search of a script: its space, the arguments of a trial, and what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from mlctl.adapters.scripts.execution import Program
from mlctl.domain.script import ScriptRequest
from mlctl.domain.script_flags import trial_arguments
from mlctl.errors import UsageError
from mlctl.services.tuning.request import TuneRequest, validate_script
from mlctl.services.tuning.script_files import files_written, knows_its_trial
from mlctl.services.tuning.script_fork import can_fork, require_script_on_tensorflow
from mlctl.services.tuning.script_space import fixed_arguments, script_space

pytestmark = pytest.mark.unit


def space(text: str) -> Any:
    (dimension,), _ = script_space({"name": text}, [])
    return dimension


@pytest.mark.parametrize(
    ("text", "values", "kind"),
    [
        ("2..10:2", [2, 4, 6, 8, 10], int),
        ("16..18", [16, 17, 18], int),
        ("0.0..0.3:0.1", [0, 0.1, 0.2, 0.3], float),
        ("25|50|100", [25, 50, 100], int),
        ("0.5|1", [0.5, 1.0], float),
        ("007|8", ["007", "8"], str),
        ("relu|tanh", ["relu", "tanh"], str),
        ("--augment|", ["--augment", ""], str),
    ],
)
def test_types_follow_from_the_text(text: str, values: list[Any], kind: type) -> None:
    found = list(space(text).all_values())
    assert found == values
    assert {type(value) for value in found} <= {kind, int if kind is float and "|" not in text else kind}


def test_a_logarithmic_range_of_integers_has_integers() -> None:
    assert space("16..1024:log").integer
    assert not space("1e-4..1e-1:log").integer


def test_one_value_is_fixed() -> None:
    dimensions, fixed = script_space({"lr": "0.1", "units": "2|4"}, [])
    assert [dimension.name for dimension in dimensions] == ["units"]
    assert fixed == {"lr": 0.1}


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("space", ["--batch-size", "25", "-n", "3"]),
        ("equals", ["--batch-size=25", "-n=3"]),
        ("underscore", ["--batch_size", "25", "-n", "3"]),
    ],
)
def test_values_are_flags_behind_the_scripts_own_arguments(style: str, expected: list[str]) -> None:
    found = trial_arguments(["--epochs", "2"], {"batch-size": 25, "n": 3}, style=style)
    assert list(found) == ["--epochs", "2", *expected]


def test_placeholders_take_the_place_of_flags() -> None:
    arguments = ["optimizer.lr={lr}", "{augment}", "--json", '{"a": 1}', "out/{trial}"]
    found = trial_arguments(arguments, {"lr": 0.003, "augment": ""}, trial="0004")
    assert list(found) == ["optimizer.lr=0.003", "--json", '{"a": 1}', "out/0004"]
    assert trial_arguments(["{augment}"], {"augment": "--augment"}) == ("--augment",)


def test_arguments_of_all_trials_are_those_without_a_placeholder() -> None:
    assert fixed_arguments(["--epochs", "2", "--lr", "{lr}", "x={u}"]) == {"epochs": "2"}


def request(**options: Any) -> TuneRequest:
    script = ScriptRequest(script="train.py", **options.pop("script", {}))
    return TuneRequest(source="train.py", script=script, **{"space": {"lr": "0.1|0.2"}, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": {}}, "does not say what to search"),
        ({"space": {"lr": "0.1"}}, "each --space has one value"),
        ({"space": {"lr": "0.2..0.1"}}, "no values between"),
        ({"space": {"lr": "0..1:log"}}, "cannot be logarithmic"),
        ({"space": {"lr": "1..9:x"}}, "is no step"),
        ({"script": {"arguments": ("--lr", "3")}}, "both an argument of the script and searched"),
        (
            {"space": {"batch-size": "1|2"}, "script": {"arguments": ("--batch_size=3",)}},
            "both an argument of the script and searched",
        ),
        ({"algorithm": "hyperband"}, "needs the most epochs"),
        ({"algorithm": "grid", "space": {"lr": "0.1..0.2"}}, "a grid needs steps"),
        ({"finalists": 2}, "trained once"),
        ({"stop": "bandit"}, "either slack or amount"),
    ],
)
def test_a_wrong_request_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        validate_script(request(**options))


def test_the_journal_has_the_script() -> None:
    given = request(flag_style="equals", script={"arguments": ("--a", "1"), "epochs": 3})
    assert TuneRequest.from_journal(given.to_journal()) == given


def test_hyperband_takes_the_epochs_of_the_option() -> None:
    job = validate_script(
        request(algorithm="hyperband", script={"epochs": 9}, space={"lr": "1e-4..1e-1:log"})
    )
    assert job.max_epochs == 9
    assert job.brackets


def test_files_that_trials_have_written_are_found_but_no_stores_and_no_hidden_ones(tmp_path: Path) -> None:
    for name in ("old.csv", "outputs/model.h5", "mlruns/1/x", "mlflow.db", ".cache/y", "__pycache__/z.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    os.utime(tmp_path / "old.csv", (1, 1))
    assert files_written(tmp_path, since=10.0) == ["outputs/model.h5"]


def test_a_script_that_asks_for_its_trial_has_files_of_its_own(tmp_path: Path) -> None:
    program = Program(file=tmp_path / "train.py", import_folder=tmp_path)
    program.file.write_text("")
    assert knows_its_trial(program, ["--output", "out/{trial}"])
    assert not knows_its_trial(program, ["--output", "{name}"])
    program.file.write_text("os.environ['MLCTL_TRIAL']")
    assert knows_its_trial(program, [])


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("import keras", True),
        ("os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'\nimport keras", True),
        ("data = os.environ['DATA']", True),
        ("os.environ['KERAS_BACKEND'] = 'jax'", False),
        ("os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')", False),
        ("os.environ.update(settings)", False),
        ("import torch", False),
        ("import settings", False),  # a module beside it decides
    ],
)
def test_a_script_that_changes_what_keras_imports_gets_new_processes(
    tmp_path: Path, text: str, can: bool
) -> None:
    (tmp_path / "settings.py").write_text("import os\nos.environ['XLA_FLAGS'] = ''\n")
    (tmp_path / "train.py").write_text(f"import os\n{text}\n")
    assert can_fork(Program(file=tmp_path / "train.py", import_folder=tmp_path)) is can


def test_a_search_refuses_a_script_on_another_backend(tmp_path: Path) -> None:
    program = Program(file=tmp_path / "train.py", import_folder=tmp_path)
    program.file.write_text("import os\nos.environ['KERAS_BACKEND'] = 'tensorflow'\n")
    require_script_on_tensorflow(program)
    program.file.write_text("import os\nos.environ['KERAS_BACKEND'] = 'jax'\n")
    with pytest.raises(
        UsageError, match=r"train\.py trains on jax, but mlctl tune trains on TensorFlow only"
    ):
        require_script_on_tensorflow(program)
