"""Files of other runtimes: each holds the encoder or has it beside it, and is asked in a process without mlctl."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlctl import settings as configuration
from mlctl.adapters.conversion.generated_rows import generate_rows
from mlctl.domain import tags
from mlctl.domain.exports import ExportedModel, ExportProof, ProvenScore
from mlctl.domain.outputs import Output
from mlctl.domain.progress import NullProgress
from mlctl.errors import RefusedError, UsageError
from mlctl.files import locked_folder
from mlctl.recipes import encoders
from mlctl.services.evaluation import recipe_of_model
from mlctl.services.serving import export_model as service
from mlctl.services.serving.exports import proof as proofs
from mlctl.services.serving.exports.base import ExportOptions
from mlctl.services.serving.exports.proof_rows import deciding_metrics, points_lost
from mlctl.services.serving.exports.resampling import resample
from mlctl.serving import scoring
from mlctl.serving.payloads.signature import ColumnSpec, ModelSignature
from tests.trained import Trained

Export = Callable[..., ExportedModel]
FLOAT32 = 1e-5  # share of the largest answer by which float32 files may differ from Keras


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Export:
    monkeypatch.chdir(tmp_path)

    def run(model: Path | str, target: str, name: str = "out", **options: Any) -> ExportedModel:
        replace = options.pop("replace", False)
        return service.export_model(
            configuration.load(),
            str(model),
            target=target,
            folder=tmp_path / name,
            options=ExportOptions(**options),
            replace=replace,
        )

    return run


def proof_of(exported: ExportedModel) -> ExportProof:
    assert exported.proof is not None
    return exported.proof


# ---------------------------------------------------------------- encoders as layers


TABLE = pd.DataFrame(
    {
        "age of client": [20.0, np.nan, 61.0, 35.5, 90.0, -3.0],
        "income": [0.0, 10.0, 5000.0, 123456.0, np.nan, 7.5],
        "place": ["north", "south", None, "elsewhere", "north", "south"],
        "member": ["yes", "no", None, "TRUE", "f", "on"],
        "note": ["Good, very good!", "", None, "bad", "good or bad?", "nothing"],
    }
)
STEPS: list[dict[str, Any]] = [
    {"make": "number", "of": "age of client"},
    {"make": "log", "of": "income"},
    {"make": "ratio", "of": "income", "by": "age of client"},
    {"make": "missing", "of": "age of client"},
    {"make": "bins", "of": "income", "most": 3},
    {"make": "category", "of": "place", "most": 2},
    {"make": "boolean", "of": "member"},
    {"make": "distance", "of": ["age of client", "income"], "from": [3.0, 4.0]},
    {"make": "waves", "of": ["age of client", "income"], "directions": 2, "frequencies": [0.1, 2.0]},
]


def signature_of(frame: pd.DataFrame) -> ModelSignature:
    kinds = {name: "double" if frame[name].dtype.kind == "f" else "string" for name in frame}
    return ModelSignature(columns=tuple(ColumnSpec(str(name), kind, False) for name, kind in kinds.items()))


def columns_of(frame: pd.DataFrame) -> dict[str, Any]:
    return {
        str(name): frame[name].to_numpy()
        if frame[name].dtype.kind == "f"
        else np.array([None if cell is None or cell != cell else cell for cell in frame[name]], object)
        for name in frame
    }


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step["make"])
def test_the_layers_of_a_step_answer_as_the_step(step: dict[str, Any], tmp_path: Path) -> None:
    from mlctl.adapters.exports.encoder_layers import encoder_layers
    from mlctl.adapters.exports.model_parts import as_tensors, feed
    from mlctl.adapters.models.keras_export import export_keras

    encoder = encoders.table(TABLE, [step])
    layers = encoder_layers(encoder, signature_of(TABLE))
    rows = columns_of(TABLE)
    found = np.asarray(layers(as_tensors(feed(layers.inputs, rows))))
    np.testing.assert_allclose(found, encoder(rows), atol=1e-6)
    assert all(given.input.isidentifier() for given in layers.inputs)
    assert export_keras(layers.model, feed(layers.inputs, rows), tmp_path / "encoder.onnx") == ""


def test_an_encoder_with_an_unknown_step_is_not_held() -> None:
    from mlctl.adapters.exports.encoder_layers import NotHeldError, encoder_layers

    encoder = encoders.table(TABLE, [STEPS[0]])
    encoder.steps = [*encoder.steps, {"make": "moon", "of": "income"}]
    encoder.widths = lambda rows=None: [1, 1]  # type: ignore[method-assign]
    with pytest.raises(NotHeldError, match="moon"):
        encoder_layers(encoder, signature_of(TABLE))


def test_names_of_columns_become_names_of_inputs() -> None:
    from mlctl.adapters.exports.encoder_layers import input_names

    assert input_names(["a b", "a_b", "1st", "größe", "x"]) == ["a_b", "a_b_2", "_1st", "gr__e", "x"]


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("model", ["pictures", "table", "texts"])
def test_onnx_holds_the_encoder(model: str, models: dict[str, Path], export: Export, tmp_path: Path) -> None:
    exported = export(models[model], "onnx")
    proof = proof_of(exported)
    assert set(exported.files) >= {"README.md", "model.json", "model.onnx", "predict.py", "proof.json"}
    assert (proof.encoder, proof.compared_with) == ("inside", "keras")
    assert proof.relative_difference <= FLOAT32
    assert (proof.split, proof.rows) == ("example", 64)
    assert set(proof.runtimes) == {"onnxruntime"}
    assert proof.latency_ms > 0 < proof.memory_bytes
    assert not (tmp_path / "out" / "preprocess.json").exists()


@pytest.mark.parametrize("model", ["tickets", "pairs"])
def test_onnx_takes_several_inputs(model: str, named: dict[str, Path], export: Export) -> None:
    assert proof_of(export(named[model], "onnx")).relative_difference <= FLOAT32


def test_the_python_folder_is_a_program(models: dict[str, Path], export: Export, tmp_path: Path) -> None:
    """It runs with -I, in a folder of its own, on a CSV file and on a JSON file, and imports no more than it says."""
    export(models["table"], "python")
    rows = [{"rooms": 3.5, "age": "", "place": "INLAND"}, {"rooms": 8.0, "age": 12, "place": "NEAR BAY"}]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "rows.json").write_text(json.dumps([{**row, "age": row["age"] or None} for row in rows]))
    answers = []
    for name in ("rows.csv", "rows.json"):
        done = subprocess.run(
            [sys.executable, "-I", tmp_path / "out" / "predict.py", tmp_path / name],
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append(json.loads(done.stdout))
    assert answers[0] == answers[1]
    expected = scoring.Scorer(str(models["table"] / "artifacts" / "model"))(
        {
            "rooms": np.array([3.5, 8.0]),
            "age": np.array([np.nan, 12.0]),
            "place": np.array(["INLAND", "NEAR BAY"], object),
        }
    )
    found = [answer["value"] for answer in answers[0]]
    np.testing.assert_allclose(found, expected.ravel(), rtol=FLOAT32)
    source = (tmp_path / "out" / "predict.py").read_text()
    assert "mlflow" not in source
    assert "import mlctl" not in source


def test_litert_and_int8(models: dict[str, Path], export: Export, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    whole = proof_of(export(models["pictures"], "litert"))
    assert (whole.encoder, whole.relative_difference <= FLOAT32) == ("inside", True)
    assert set(whole.runtimes) == {"ai_edge_litert"}
    small = proof_of(export(models["pictures"], "litert", "int8", quantize="int8", force=True))
    assert small.encoder == "beside"
    assert (tmp_path / "int8" / "preprocess.json").is_file()
    assert small.float32_bytes is not None
    assert small.size_bytes < small.float32_bytes


@pytest.mark.parametrize("quantize", ["float16", "int8", "dynamic"])
def test_onnx_is_quantized(models: dict[str, Path], export: Export, quantize: str) -> None:
    proof = proof_of(export(models["pictures"], "onnx", quantize=quantize, force=True))
    assert proof.title == f"onnx-{quantize}"
    assert proof.max_difference < 0.1


@pytest.mark.parametrize("target", ["savedmodel", pytest.param("keras", marks=pytest.mark.long)])
def test_tensorflow_files_hold_the_encoder_of_a_table(
    models: dict[str, Path], export: Export, tmp_path: Path, target: str
) -> None:
    proof = proof_of(export(models["table"], target))
    assert (proof.encoder, proof.relative_difference <= FLOAT32) == ("inside", True)
    assert (tmp_path / "out" / ("1/saved_model.pb" if target == "savedmodel" else "model.keras")).is_file()


def test_what_a_format_cannot_hold_is_refused(named: dict[str, Path], export: Export, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be quantized"):
        export(named["pairs"], "keras", quantize="int8")
    for target in ("keras", "savedmodel"):
        with pytest.raises(RefusedError, match="the model has no Keras form"):
            export(named["pairs"] / "artifacts" / "model" / "model.onnx", target)
    with pytest.raises(UsageError, match="--proof has no meaning"):
        export(named["pairs"], "docker", proof_data="rows.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(RefusedError, match="is a file, not a folder"):
        export(named["pairs"], "onnx", "file/out")
    assert not (tmp_path / "out").exists()


def test_a_saved_model_holds_the_states_of_random_layers(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    from mlctl.adapters.exports import tensorflow_files as files
    from mlctl.adapters.exports.encoder_layers import RawInput
    from mlctl.adapters.exports.model_parts import HeldEncoder

    model = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.RandomTranslation(0.1, 0.1), keras.layers.Flatten()]
    )
    parts: Any = SimpleNamespace(
        keras_model=model,
        model_inputs=[SimpleNamespace(name="x")],
        output_names=["answer"],
        call=lambda given: {"answer": model(given["x"], training=False)},
    )
    given = RawInput(name="x", input="x", dtype="float32", shape=(4, 4, 1))
    module, concrete = files._trace(parts, files._Held(HeldEncoder((given,), "none"), None))
    tf.saved_model.save(module, str(tmp_path), signatures={files.SERVE: concrete})
    assert (tmp_path / "saved_model.pb").is_file()


# ---------------------------------------------------------------- the proof


def test_what_made_the_model_is_asked_for_its_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A script would train again, and automl keeps the target among the parameters of its run."""
    info: Any = SimpleNamespace(recipe="train", run_id="1")
    run: Any = SimpleNamespace(tags={tags.SCRIPT_TAG: "train.py"}, params={"target": "price"})
    monkeypatch.setattr(recipe_of_model, "_find_run", lambda store, run_id: run)
    settings: Any = None
    with pytest.raises(UsageError, match="a script trained the model"):
        recipe_of_model.prepare_training_data(
            settings, settings, info, scratch=tmp_path, listener=NullProgress()
        )
    run.tags = {tags.KIND_TAG: tags.AUTOML}
    assert recipe_of_model._overrides(run, {}) == {"target": "price"}
    run.tags = {}
    assert recipe_of_model._overrides(run, {"overrides": {"units": 8}}) == {"units": 8}


def test_made_rows_have_the_texts_of_the_example() -> None:
    signature = ModelSignature(columns=(ColumnSpec("day", "string", False),))
    example = {"day": np.array(["2024-02-29", None], object)}
    assert set(generate_rows(signature, example, 3, {})["day"]) == {"2024-02-29"}


def test_a_score_that_falls_too_far_is_refused(
    models: dict[str, Path], export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "_equal_labels", lambda *_: 0.9)
    with pytest.raises(RefusedError, match=r"10\.00 % of the rows get another label") as error:
        export(models["pictures"], "onnx")
    assert "--force" in error.value.hint
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("xdg-")] == []
    forced = export(models["pictures"], "onnx", force=True)
    assert proof_of(forced).forced
    assert any("--force" in note for note in forced.notes)
    assert proof_of(export(models["pictures"], "onnx", "other", max_loss=10.5)).forced is False


def test_only_an_export_is_replaced(models: dict[str, Path], export: Export, tmp_path: Path) -> None:
    export(models["pictures"], "onnx")
    with pytest.raises(RefusedError, match="not empty"):
        export(models["pictures"], "onnx")
    (tmp_path / "out" / "old").write_text("")
    export(models["pictures"], "onnx", replace=True)
    assert not (tmp_path / "out" / "old").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    with pytest.raises(RefusedError, match="not empty"):
        export(models["pictures"], "onnx", "mine", replace=True)


def test_what_a_killed_export_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    parts = [tmp_path / f"{service.STAGING}{name}" for name in ("killed", "new", "living")]
    for part in parts:
        (part / "new").mkdir(parents=True)
    for part in (parts[0], parts[2]):
        os.utime(part, (1, 1))
    with locked_folder(parts[2]), service._staging_folder(tmp_path) as own:
        assert set(tmp_path.iterdir()) == {*parts[1:], own}
        assert not service._is_taken(tmp_path)
    assert set(tmp_path.iterdir()) == set(parts[1:])


def test_the_proof_is_of_the_test_split_and_in_the_run(
    digits: Trained, export: Export, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The run belongs to all tests, so that the proof is not written to it here."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", digits.uri)
    logged: list[tuple[str, str]] = []
    monkeypatch.setattr(
        service, "_log_proof", lambda store, run_id, file, proof: logged.append((run_id, proof.title)) or ()
    )
    exported = export(digits.answer["run_id"], "onnx", quantize="int8", max_loss=5.0)
    proof = proof_of(exported)
    assert (proof.split, proof.rows) == ("test", digits.answer["data"]["splits"]["test"])
    assert proof.score is not None
    assert proof.score.metric == "accuracy"
    assert proof.score.before == pytest.approx(digits.answer["metrics"]["test_accuracy"])
    low, high = proof.score.after_interval
    assert low < proof.score.after < high
    assert proof.data["sha256"] == digits.answer["data"]["sha256"]
    assert logged == [(digits.answer["run_id"], "onnx-int8")]
    assert ExportProof.from_json(json.loads((tmp_path / "out" / "proof.json").read_text())) == proof


def test_points_lost() -> None:
    assert points_lost("accuracy", 0.95, 0.94) == pytest.approx(1)
    assert points_lost("mae", 200.0, 210.0) == pytest.approx(5)
    assert points_lost("r2", 0.5, 0.6) == pytest.approx(-10)
    assert points_lost("log_loss", 0.01, 0.02) == pytest.approx(1)  # it has a scale, and may be close to zero


def test_each_output_has_a_metric_if_the_objective_is_none_of_them() -> None:
    scores = {"kind_accuracy": 0.9, "kind_log_loss": 0.3, "size_rmse": 2.0, "size_mae": 1.0}
    assert deciding_metrics(scores, "loss", ["kind", "size", "code"]) == ["kind_accuracy", "size_mae"]
    assert deciding_metrics(scores, "size_rmse", ["kind", "size"]) == ["size_rmse"]
    assert deciding_metrics({"log_loss": 0.3, "f1": 0.9}, "loss", [""]) == ["log_loss"]


def test_values_without_a_score_are_compared_with_their_spread() -> None:
    parts: Any = SimpleNamespace(info=SimpleNamespace(outputs=(Output(kind="values"),)))
    answers = np.array([[0.0], [2.0], [4.0]])
    assert proofs._unlike(parts, answers, answers) == 0
    assert proofs._unlike(parts, answers, np.zeros((3, 1))) == pytest.approx(250)
    assert proofs._unlike(parts, np.ones((3, 1)), np.full((3, 1), 1.1)) == pytest.approx(1)


def test_intervals_are_of_pairs() -> None:
    """Both scores come from the same rows, so that equal answers have no loss in any draw."""
    right = np.random.default_rng(0).random(400) < 0.9
    before, after, loss = resample(
        lambda rows: (float(right[rows].mean()),) * 2, 400, lambda one, other: one - other
    )
    assert before == after
    assert before[0] < right.mean() < before[1]
    assert loss == (0.0, 0.0)


def test_a_proof_of_a_later_version_is_read() -> None:
    score = ProvenScore(
        metric="accuracy",
        before=0.9,
        after=0.9,
        before_interval=(0.8, 1.0),
        after_interval=(0.8, 1.0),
        loss=0.0,
        loss_interval=(0.0, 0.0),
    )
    proof = ExportProof(
        format="onnx", model="m", compared_with="keras", encoder="none", rows=1, split="test",
        max_difference=0.0, relative_difference=0.0, score=score, size_bytes=1, latency_ms=1.0, memory_bytes=1,
    )  # fmt: skip
    written = json.loads(json.dumps({**proof.to_json(), "later": 1}))
    assert ExportProof.from_json(written) == proof


@pytest.mark.long
@pytest.mark.parametrize(
    ("target", "model"),
    [("onnx", "table"), ("python", "texts"), ("litert", "pictures"), ("savedmodel", "table")],
)
def test_predict_py_runs_in_a_new_environment(
    models: dict[str, Path], export: Export, tmp_path: Path, target: str, model: str
) -> None:
    """The README's steps: install its packages, and run predict.py."""
    export(models[model], target)
    readme = (tmp_path / "out" / "README.md").read_text()
    packages = next(line for line in readme.splitlines() if "pip install" in line).split()[2:]
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True, timeout=600)
    rows: Any = {
        "table": [{"rooms": 3.0, "age": None, "place": "INLAND"}],
        "texts": [{"text": "a good film"}],
        "pictures": [[[7] * 8] * 8],
    }[model]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    done = subprocess.run(
        [python, tmp_path / "out" / "predict.py", tmp_path / "rows.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(done.stdout)) == 1
