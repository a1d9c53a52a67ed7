"""A trained model as one MLflow folder of two flavors: Keras for further training, scoring.py for serving.

MLmodel                 flavors, signature, classes or unit, requirements
scoring.py              raw input -> encoder -> ONNX Runtime -> predictions; needs no mlctl
artifacts/model/        model.keras, model.onnx (if the export predicts what Keras does), encoder.json,
                        code.pkl (if the user's own layers, losses, functions or encoder travel)
input_example.json
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import mlflow
import numpy as np
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.utils import environment

import mlctl
from mlctl.adapters.keras.answers import bytes_per_row
from mlctl.adapters.keras.train_step import fixed_batch_size
from mlctl.adapters.models import code, code_pickling
from mlctl.adapters.models.keras_export import export_keras
from mlctl.adapters.models.keras_trace import InputSpec, input_specs
from mlctl.adapters.models.signatures import first_row, make_signature
from mlctl.adapters.models.silence import suppress_output
from mlctl.data.trees import is_nested, leaves, map_tree
from mlctl.domain.outputs import Outputs
from mlctl.serving import scoring

KERAS_FILE, ONNX_FILE, ENCODER_FILE = "model.keras", "model.onnx", "encoder.json"  # scoring.py reads these
ONNX_RUNTIME = "onnxruntime"
CHECKED_ROWS = 2  # a rebuilt model of the user's own classes must answer these equally

Array = np.ndarray[Any, Any]
Tree = Any


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """What `save_model` wrote.

    Attributes:
        runtime: The runtime that serves the model: "onnxruntime" or "keras".
        reason: Why ONNX Runtime does not serve it, in a few words.
        code: Names of the user's own layers, losses and functions that travel with it.
        has_own_encoder: Whether an encoder of the user's own travels with it.
        notes: Lines for the user.
    """

    runtime: str
    reason: str = ""
    code: tuple[str, ...] = ()
    has_own_encoder: bool = False
    notes: tuple[str, ...] = ()

    @property
    def served_by(self) -> str:
        """The runtime in words, with the reason."""
        return "ONNX Runtime" if self.runtime == ONNX_RUNTIME else f"Keras, because {self.reason}"


def save_model(
    folder: Path,
    model: keras.Model,
    *,
    encoder: Any,
    raw: Any,
    encoded: Tree,
    metadata: Mapping[str, Any],
    outputs: Outputs = (),
    optional_columns: Sequence[str] = (),
) -> SavedModel:
    """Write a Keras model to an empty folder.

    Args:
        folder: where the MLflow model is written.
        model: the trained model, in float32.
        encoder: maps raw input to the model's input; None if there is nothing to encode.
        raw: a few dozen client inputs: an array, a DataFrame, or a dict or tuple of arrays. For a model with a fixed
            number of rows, as many.
        encoded: the same inputs as the model takes them: an array (n, …), or a dict or tuple of arrays.
        metadata: what clients need to know: task, classes, unit, recipe.
        outputs: what each of the model's outputs means; none: one output, as it is.
        optional_columns: columns that had gaps in training; a request may leave them out or have gaps in them.

    Raises BadDataError if a custom object cannot be pickled, or if the model cannot be loaded with it.
    """
    encoded = map_tree(as_array, encoded)
    fixed_rows = fixed_batch_size(model)
    checked = map_tree(lambda leaf: leaf[: fixed_rows or CHECKED_ROWS], encoded)
    model, note = code.savable_model(model, checked)
    specs = input_specs(model, encoded)
    names = [spec.name for spec in specs] if is_nested(encoded) else []
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        parts = Path(temporary) / "model"
        parts.mkdir()
        objects = code.save_keras(model, parts / KERAS_FILE)
        packed = code_pickling.pack(objects, encoder if code_pickling.is_own_encoder(encoder) else None)
        if packed.content:
            (parts / code_pickling.CODE_FILE).write_bytes(packed.content)
            code.check_loads(parts / KERAS_FILE, packed)
        state = _encoder_json(encoder, encoded, specs, outputs)
        state["raw_names"] = _raw_names(raw, names) if isinstance(raw, tuple) and encoder is not None else []
        fed = iter(state["inputs"])
        encoded = map_tree(lambda leaf: scoring.as_input(leaf, next(fed)), encoded)
        few = map_tree(lambda leaf: _tensor(leaf[: fixed_rows or 1]), encoded)
        state |= {"row_bytes": bytes_per_row(model, few), "fixed_rows": fixed_rows}
        (parts / ENCODER_FILE).write_text(json.dumps(state), encoding="utf-8")
        reason = export_keras(model, encoded, parts / ONNX_FILE, outputs)
        runtime = "keras" if reason else ONNX_RUNTIME
        predictions = _predict_one(model, encoded, state)
        is_raw = encoder is None and not isinstance(raw, pd.DataFrame)
        signature = make_signature(
            raw,
            predictions,
            optional_columns,
            input_names=_raw_names(raw, names) if isinstance(raw, tuple) else (),
            input_shapes=_shapes(specs, names) if is_raw else None,
            output_shapes=_output_shapes(model, state),
        )
        _save_flavors(
            folder,
            parts,
            raw=raw,
            raw_names=_raw_names(raw, names) if isinstance(raw, tuple) else (),
            signature=signature,
            metadata={**metadata, "runtime": runtime, "runtime_reason": reason},
            requirements=[*pip_requirements(runtime), *packed.requirements],
        )
    return SavedModel(
        runtime=runtime,
        reason=reason,
        code=packed.names,
        has_own_encoder=code_pickling.is_own_encoder(encoder),
        notes=(*packed.notes, *([note] if note else [])),
    )


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
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as temporary:
        parts = Path(temporary) / "model"
        parts.mkdir()
        content = json.dumps({"encoder": _encoder_state(encoder), "input_dtype": "float32"})
        (parts / ENCODER_FILE).write_text(content, encoding="utf-8")
        (parts / ONNX_FILE).write_bytes(graph)
        _save_flavors(
            folder,
            parts,
            raw=raw,
            signature=make_signature(raw, predictions, optional_columns),
            metadata={**metadata, "runtime": ONNX_RUNTIME},
            requirements=pip_requirements(ONNX_RUNTIME, with_keras=False),
        )


def save_parts(
    folder: Path,
    parts: Path,
    *,
    raw: Any,
    predictions: Any,
    input_shapes: Any,
    metadata: Mapping[str, Any],
    requirements: Sequence[str],
) -> None:
    """Write a model of another program to an empty folder; `parts` has its file and encoder.json."""
    _save_flavors(
        folder,
        parts,
        raw=raw,
        signature=make_signature(raw, predictions, input_shapes=input_shapes),
        metadata=metadata,
        requirements=requirements,
    )


def pip_requirements(runtime: str, with_keras: bool = True, others: Sequence[str] = ()) -> list[str]:
    """Return what scoring.py and the Keras flavor need, pinned to the installed versions."""
    names = ["mlflow", "numpy", "pandas", *(["keras", "tensorflow"] if with_keras else []), *others]
    names += ["onnxruntime"] if runtime == "onnxruntime" else []
    return [f"{name}=={version(name)}" for name in names]


def rebuild_in_float32(build: Callable[[], keras.Model], weights: Sequence[Array]) -> keras.Model:
    """Return a new model in float32 with these weights: bfloat16 is for training only."""
    keras.config.set_dtype_policy("float32")
    model = build()
    model.set_weights(weights)
    return model


def as_array(leaf: Any) -> Array:
    """Return a leaf of encoded inputs as an array; texts as an object array."""
    array = np.asarray(leaf)
    return array.astype(object) if array.dtype.kind in "US" else array


def call_keras_flat(model: keras.Model, encoded: Tree) -> list[Array]:
    """Return what a Keras model answers as a flat list of its outputs; logits stay as they are."""
    answers = model(map_tree(_tensor, encoded), training=False)
    return [keras.ops.convert_to_numpy(part) for part in keras.tree.flatten(answers)]


def _tensor(leaf: Any) -> Any:
    array = np.asarray(leaf)
    return keras.ops.convert_to_tensor(array.astype(str) if array.dtype.kind == "O" else array)


def _encoder_state(encoder: Any) -> dict[str, Any] | None:
    if encoder is None:
        return None
    if code_pickling.is_own_encoder(encoder):
        return {"kind": scoring.OWN_ENCODER}
    return {"kind": encoder.kind, **encoder.state()}


def _encoder_json(
    encoder: Any, encoded: Tree, specs: Sequence[InputSpec], outputs: Outputs
) -> dict[str, Any]:
    """Return the content of encoder.json: how scoring.py feeds the model, and what it does with the answers."""
    inputs = [
        {
            "name": spec.name,
            "dtype": scoring.TEXT if spec.dtype == "string" else spec.dtype,
            "rank": len(spec.shape) + 1,
        }
        for spec in specs
    ]
    names = iter([spec.name for spec in specs])
    named = [{"name": output.name, "activation": output.activation} for output in outputs]
    return {
        "encoder": _encoder_state(encoder),
        "input_dtype": inputs[0]["dtype"],
        "inputs": inputs,
        "structure": _as_lists(map_tree(lambda leaf: next(names), encoded)),
        "outputs": named or [{"name": "", "activation": ""}],
    }


def _as_lists(structure: Any) -> Any:
    if isinstance(structure, Mapping):
        return {name: _as_lists(part) for name, part in structure.items()}
    return [_as_lists(part) for part in structure] if isinstance(structure, tuple) else structure


def _predict_one(model: keras.Model, encoded: Tree, state: Mapping[str, Any]) -> Any:
    """Return the answers to the first row, as the served model gives them."""
    rows = state["fixed_rows"] or 1
    arrays = {
        given["name"]: leaf[:rows] for given, leaf in zip(state["inputs"], leaves(encoded), strict=True)
    }
    structure = state["structure"]
    inputs = arrays[structure] if isinstance(structure, str) else arrays
    answers = scoring.call_keras(model, inputs, structure=structure, outputs=state["outputs"])
    return map_tree(lambda leaf: leaf[:1], answers)


def _raw_names(raw: tuple[Any, ...], names: Sequence[str]) -> list[str]:
    """Return the names of raw inputs that are a tuple: the model's, if it has as many."""
    return list(names) if len(raw) == len(names) else [f"input_{number}" for number in range(1, len(raw) + 1)]


def _shapes(specs: Sequence[InputSpec], names: Sequence[str]) -> Any:
    shapes = [(None, *spec.shape) for spec in specs]
    return dict(zip(names, shapes, strict=True)) if names else shapes[0]


def _output_shapes(model: keras.Model, state: Mapping[str, Any]) -> Any:
    """Return the shapes of the outputs, with None for a length that differs; None if the model has none."""
    tensors = getattr(model, "outputs", None)
    outputs = state["outputs"]
    if not tensors or len(tensors) != len(outputs):
        return None
    if len(outputs) == 1:
        return (None, *tensors[0].shape[1:])
    return {
        output["name"]: (None, *tensor.shape[1:]) for output, tensor in zip(outputs, tensors, strict=True)
    }


def _save_flavors(
    folder: Path,
    parts: Path,
    *,
    raw: Any,
    raw_names: Sequence[str] = (),
    signature: ModelSignature,
    metadata: Mapping[str, Any],
    requirements: Sequence[str],
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
            save_format="tf",  # for mlflow.tensorflow.load_model, which takes none for HDF5
        )
    with suppress_output(), _unchecked_requirements():
        mlflow.pyfunc.save_model(
            path=str(folder),
            mlflow_model=mlmodel,
            python_model=scoring.__file__,
            artifacts={"model": str(parts)},
            signature=signature,
            input_example=first_row(raw, raw_names),
            pip_requirements=sorted({name.partition("==")[0]: name for name in requirements}.values()),
        )
    _remove_local_paths(folder)


@contextlib.contextmanager
def _unchecked_requirements() -> Iterator[None]:
    """Skip MLflow's warning if a requirement differs from what is installed: mlctl has read them from there.

    To compare them, MLflow reads the metadata of every installed package, which takes half a second.
    """
    check = environment.warn_dependency_requirement_mismatches
    environment.warn_dependency_requirement_mismatches = lambda _: None
    try:
        yield
    finally:
        environment.warn_dependency_requirement_mismatches = check


def _remove_local_paths(folder: Path) -> None:
    """Replace this machine's paths in MLmodel by relative ones."""
    mlmodel = Model.load(str(folder))
    for artifact in mlmodel.flavors["python_function"].get("artifacts", {}).values():
        artifact["uri"] = artifact["path"]
    mlmodel.flavors["python_function"]["model_code_path"] = "scoring.py"
    mlmodel.save(str(folder / "MLmodel"))
