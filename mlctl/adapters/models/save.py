"""A trained model as one MLflow folder of two flavors: Keras for further training, scoring.py for serving.

MLmodel                 flavors, signature, classes or unit, requirements
scoring.py              raw input -> encoder -> ONNX Runtime -> predictions; needs no mlctl
artifacts/model/        model.keras, model.onnx (if the export predicts what Keras does), encoder.json
input_example.json
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from mlctl.adapters.models.load import suppress_output
from mlctl.adapters.models.onnx_graphs import export_keras
from mlctl.serving import scoring

KERAS_FILE, ONNX_FILE, ENCODER_FILE = "model.keras", "model.onnx", "encoder.json"  # scoring.py reads these

Array = np.ndarray[Any, Any]


def save_model(
    folder: Path,
    model: keras.Model,
    *,
    encoder: Any,
    raw: Any,
    encoded: Array,
    metadata: Mapping[str, Any],
    optional_columns: Sequence[str] = (),
) -> str:
    """Write a Keras model to an empty folder.

    Args:
        folder: where the MLflow model is written.
        model: the trained model, in float32.
        encoder: maps raw input to the model's input; None if there is nothing to encode.
        raw: a few dozen client inputs: an array, or a DataFrame.
        encoded: the same inputs as the model takes them, (n, …).
        metadata: what clients need to know: task, classes, unit, recipe.
        optional_columns: columns that had gaps in training; a request may leave them out or have gaps in them.

    Returns:
        The runtime that serves the model: "onnxruntime" or "keras".
    """
    with _parts_folder(encoder, str(encoded.dtype)) as parts:
        model.save(parts / KERAS_FILE, include_optimizer=False)
        runtime = "onnxruntime" if export_keras(model, encoded, parts / ONNX_FILE) else "keras"
        predictions = np.asarray(model(encoded[:1], training=False))
        signature = make_signature(raw, predictions, optional_columns)
        _save_flavors(folder, parts, raw=raw, signature=signature, metadata={**metadata, "runtime": runtime})
    return runtime


def save_onnx_model(
    folder: Path,
    graph: bytes,
    *,
    encoder: Any,
    raw: Any,
    predictions: Array,
    metadata: Mapping[str, Any],
    optional_columns: Sequence[str],
) -> None:
    """Write a model that is an ONNX graph to an empty folder: as `save_model`, without the Keras flavor.

    `predictions` are some of the graph's, for their type and shape.
    """
    with _parts_folder(encoder, "float32") as parts:
        (parts / ONNX_FILE).write_bytes(graph)
        signature = make_signature(raw, predictions, optional_columns)
        metadata = {**metadata, "runtime": "onnxruntime"}
        _save_flavors(folder, parts, raw=raw, signature=signature, metadata=metadata)


def make_signature(raw: Any, predictions: Array, optional_columns: Sequence[str]) -> ModelSignature:
    """Return the signature of raw input: a tensor of the data's own dtype, or a table's columns."""
    outputs = Schema([TensorSpec(predictions.dtype, (-1, *predictions.shape[1:]))])
    if not isinstance(raw, pd.DataFrame):
        return ModelSignature(Schema([TensorSpec(raw.dtype, (-1, *raw.shape[1:]))]), outputs)
    columns = [
        ColSpec(_column_type(raw[name]), str(name), required=name not in optional_columns) for name in raw
    ]
    return ModelSignature(Schema(columns), outputs)


def pip_requirements(runtime: str, with_keras: bool = True) -> list[str]:
    """Return what scoring.py and the Keras flavor need, pinned to the installed versions."""
    names = ["mlflow", "numpy", "pandas", *(["keras", "tensorflow"] if with_keras else [])]
    names += ["onnxruntime"] if runtime == "onnxruntime" else []
    return [f"{name}=={version(name)}" for name in names]


def rebuild_in_float32(build: Callable[[], keras.Model], weights: Sequence[Array]) -> keras.Model:
    """Return a new model in float32 with these weights: bfloat16 is for training only."""
    keras.config.set_dtype_policy("float32")
    model = build()
    model.set_weights(weights)
    return model


@contextmanager
def _parts_folder(encoder: Any, input_dtype: str) -> Iterator[Path]:
    """Yield a temporary folder for the model's files, which has the encoder's state already."""
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        parts = Path(temporary) / "model"
        parts.mkdir()
        state = None if encoder is None else {"kind": encoder.kind, **encoder.state()}
        content = json.dumps({"encoder": state, "input_dtype": input_dtype})
        (parts / ENCODER_FILE).write_text(content, encoding="utf-8")
        yield parts


def _column_type(values: pd.Series[Any]) -> str:
    if pd.api.types.infer_dtype(values, skipna=True) == "boolean":
        return "boolean"
    return "double" if values.dtype.kind in "iuf" else "string"


def _save_flavors(
    folder: Path, parts: Path, *, raw: Any, signature: ModelSignature, metadata: Mapping[str, Any]
) -> None:
    mlmodel = Model(metadata={"mlctl": {**metadata, "version": mlctl.__version__}})
    has_keras = (parts / KERAS_FILE).exists()
    if has_keras:
        mlmodel.add_flavor(
            "keras",
            data="artifacts/model",
            keras_version=keras.__version__,
            keras_backend=keras.backend.backend(),
            save_exported_model=False,
        )
    with suppress_output():
        mlflow.pyfunc.save_model(
            path=str(folder),
            mlflow_model=mlmodel,
            python_model=scoring.__file__,
            artifacts={"model": str(parts)},
            signature=signature,
            input_example=raw.iloc[:1] if isinstance(raw, pd.DataFrame) else raw[:1],
            pip_requirements=pip_requirements(metadata["runtime"], has_keras),
        )
    _remove_local_paths(folder)


def _remove_local_paths(folder: Path) -> None:
    """Replace this machine's paths in MLmodel by relative ones."""
    mlmodel = Model.load(str(folder))
    for artifact in mlmodel.flavors["python_function"].get("artifacts", {}).values():
        artifact["uri"] = artifact["path"]
    mlmodel.flavors["python_function"]["model_code_path"] = "scoring.py"
    mlmodel.save(str(folder / "MLmodel"))
