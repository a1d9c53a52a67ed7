"""A trained model as one MLflow folder of two flavors: Keras to go on with, and scoring.py to serve.

MLmodel                 flavors, signature, classes or unit, requirements
scoring.py              raw input -> encoder -> ONNX Runtime -> answers; needs no mlctl
artifacts/model/        model.keras, model.onnx (where the export answers as Keras does), encoder.json
input_example.json
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

import mlctl
from mlctl.adapters.models.load import client_input, quiet
from mlctl.serving import scoring

__all__ = ["answer", "client_input", "load", "save"]

CHECKED_BATCHES = (1, 7, 64)  # an export can answer one row well and refuse four
EXPORT_TOLERANCE = 1e-4

Array = np.ndarray[Any, Any]


def save(
    folder: Path,
    model: keras.Model,
    encoder: Any,
    raw: Any,
    encoded: Array,
    about: Mapping[str, Any],
    gaps: Sequence[str] = (),
) -> str:
    """Write the model to an empty folder; return the runtime that serves it: "onnxruntime" or "keras".

    `raw` are a few dozen client inputs (an array, or a DataFrame), `encoded` the same as the model takes them,
    `about` says what a client must know: task, classes, unit, recipe; `gaps` are the table's columns that had
    gaps in training, and may have them in a request.
    """
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        parts = Path(temporary) / "model"
        parts.mkdir()
        model.save(parts / "model.keras", include_optimizer=False)
        state = None if encoder is None else {"kind": encoder.kind, **encoder.state()}
        saved = {"encoder": state, "input_dtype": str(encoded.dtype)}
        (parts / "encoder.json").write_text(json.dumps(saved), encoding="utf-8")
        runtime = "onnxruntime" if exported(model, encoded, parts / "model.onnx") else "keras"
        answers = np.asarray(model(encoded[:1], training=False))
        signature = signature_of(raw, answers, gaps)
        _save_flavors(folder, parts, raw, signature, {**about, "runtime": runtime})
    return runtime


def save_graph(
    folder: Path, graph: bytes, encoder: Any, raw: Any, answers: Array, about: Mapping[str, Any], gaps: Sequence[str]
) -> None:  # fmt: skip
    """Write a model that is an ONNX graph to an empty folder: as `save`, but for Keras's flavor.

    `answers` are the graph's, for their type and shape.
    """
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        parts = Path(temporary) / "model"
        parts.mkdir()
        (parts / "model.onnx").write_bytes(graph)
        saved = {"encoder": {"kind": encoder.kind, **encoder.state()}, "input_dtype": "float32"}
        (parts / "encoder.json").write_text(json.dumps(saved), encoding="utf-8")
        signature = signature_of(raw, answers, gaps)
        _save_flavors(folder, parts, raw, signature, {**about, "runtime": "onnxruntime"})


def load(folder: Path | str) -> Any:
    """Load a saved model as any MLflow client would, and return it; the folder stays as it was."""
    with quiet():
        loaded = mlflow.pyfunc.load_model(str(folder))
    for compiled in Path(folder).rglob("__pycache__"):  # of scoring.py, by the interpreter that tried it
        shutil.rmtree(compiled, ignore_errors=True)
    return loaded


def answer(loaded: Any, raw: Any) -> Array:
    """Return a loaded model's answers to raw input as a float array."""
    with quiet():
        return np.asarray(loaded.predict(raw))


def signature_of(raw: Any, answers: Array, gaps: Sequence[str]) -> ModelSignature:
    """Return the signature of raw input: a tensor of the data's own type, or a table's columns.

    A column may be left out, or hold gaps, where training had gaps in it.
    """
    outputs = Schema([TensorSpec(answers.dtype, (-1, *answers.shape[1:]))])
    if not isinstance(raw, pd.DataFrame):
        return ModelSignature(Schema([TensorSpec(raw.dtype, (-1, *raw.shape[1:]))]), outputs)
    columns = []
    for name in raw:
        columns.append(ColSpec(_kind(raw[name]), str(name), required=name not in gaps))
    return ModelSignature(Schema(columns), outputs)


def _kind(values: pd.Series[Any]) -> str:
    if pd.api.types.infer_dtype(values, skipna=True) == "boolean":
        return "boolean"
    return "double" if values.dtype.kind in "iuf" else "string"


def requirements(runtime: str, keras_too: bool = True) -> list[str]:
    """Return what scoring.py and the Keras flavor need, each pinned to what is installed here."""
    names = ["mlflow", "numpy", "pandas", *(["keras", "tensorflow"] if keras_too else [])]
    names += ["onnxruntime"] if runtime == "onnxruntime" else []
    return [f"{name}=={version(name)}" for name in names]


def exported(model: keras.Model, encoded: Array, path: Path) -> bool:
    """Export to ONNX; False, and no file, where that is refused or answers other than Keras."""
    try:
        with quiet():
            model(encoded[:1], training=False)  # a model that was never called cannot be exported
            model.export(str(path), format="onnx", verbose=False)
        run = scoring.onnx_runner(str(path))
        for rows in CHECKED_BATCHES:
            wanted = np.asarray(model(encoded[:rows], training=False))
            scale = max(1.0, float(np.abs(wanted).max()))
            if np.abs(run(encoded[:rows]) - wanted).max() > EXPORT_TOLERANCE * scale:
                break
        else:
            return True
    except Exception:  # noqa: S110 - exporters fail in as many ways as there are layers; Keras serves then
        pass
    path.unlink(missing_ok=True)
    return False


def _save_flavors(
    folder: Path, parts: Path, raw: Any, signature: ModelSignature, about: Mapping[str, Any]
) -> None:
    made = Model(metadata={"mlctl": {**about, "version": mlctl.__version__}})
    has_keras = (parts / "model.keras").exists()
    if has_keras:
        made.add_flavor(
            "keras",
            data="artifacts/model",
            keras_version=keras.__version__,
            keras_backend=keras.backend.backend(),
            save_exported_model=False,
        )
    with quiet():
        mlflow.pyfunc.save_model(
            path=str(folder),
            mlflow_model=made,
            python_model=scoring.__file__,
            artifacts={"model": str(parts)},
            signature=signature,
            input_example=example(raw),
            pip_requirements=requirements(about["runtime"], has_keras),
        )
    _forget_where_it_was_made(folder)


def example(raw: Any) -> Any:
    """Return the first row of raw input, as an input example."""
    return raw.iloc[:1] if isinstance(raw, pd.DataFrame) else raw[:1]


def _forget_where_it_was_made(folder: Path) -> None:
    """Take the training machine's paths out of MLmodel: they mean nothing elsewhere."""
    saved = Model.load(str(folder))
    for artifact in saved.flavors["python_function"].get("artifacts", {}).values():
        artifact["uri"] = artifact["path"]
    saved.flavors["python_function"]["model_code_path"] = "scoring.py"
    saved.save(str(folder / "MLmodel"))


def rebuilt_in_float32(make: Any, weights: Sequence[Array]) -> keras.Model:
    """Return the model that `make` builds, in float32 and with these weights: bfloat16 is for training."""
    keras.config.set_dtype_policy("float32")
    model = make()
    model.set_weights(weights)
    return model
