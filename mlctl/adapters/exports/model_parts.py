"""A saved model as exports need it: its encoder, its Keras model, its ONNX graph, and what it takes and answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.exports.encoder_layers import (
    EncoderLayers,
    NotHeldError,
    RawInput,
    encoder_layers,
    input_names,
)
from mlctl.adapters.models.export_error import ExportError
from mlctl.adapters.models.keras_trace import ANSWER, call_model, pack
from mlctl.adapters.models.silence import suppress_output
from mlctl.domain.outputs import Output
from mlctl.serving import scoring
from mlctl.serving.saved_model import read_saved_model

CHECKED_ROWS = 64  # for which an encoder's layers must answer as the encoder does
ENCODER_TOLERANCE = 1e-4
NO_KERAS = "the model has no Keras form: it has trees or several models, or came as a file of another runtime"

Array = np.ndarray[Any, Any]
Raw = Any  # an array, or a dict of arrays by column or input name


class KerasScorer(scoring.Scorer):
    """Answers raw input with the saved Keras model, even if the folder has an ONNX graph, too."""

    def _open_runtime(
        self, folder: str, saved: dict[str, Any], code: scoring.TravellingCode | None
    ) -> Callable[[Any], Any]:
        outputs = saved.get("outputs") or [{"name": "", "activation": ""}]
        objects = code.objects() if code else {}
        path = str(Path(folder) / "model.keras")
        return scoring.keras_runner(path, structure=self._structure, outputs=outputs, objects=objects)


@dataclass(frozen=True)
class HeldEncoder:
    """The inputs of an exported file, and whether its encoder is inside, beside it, or there is none."""

    inputs: tuple[RawInput, ...]
    place: str
    reason: str = ""


class ModelParts:
    """The parts of a model that mlctl saved."""

    def __init__(self, folder: Path, samples: Raw) -> None:
        """`samples` are a few raw rows, for which the parts of an export are compared."""
        self.folder = folder / "artifacts" / "model"
        self.info = read_saved_model(folder)
        self.samples = samples
        self.state: dict[str, Any] = json.loads((self.folder / "encoder.json").read_text(encoding="utf-8"))
        if self.state.get("fixed_rows"):
            raise ExportError(f"the model takes batches of {self.state['fixed_rows']} rows only")

    @property
    def has_keras(self) -> bool:
        """Whether the Keras model was saved."""
        return (self.folder / "model.keras").is_file()

    @property
    def onnx_file(self) -> Path:
        """The ONNX graph that answers encoded rows; raises ExportError if the model has none."""
        file = self.folder / "model.onnx"
        if not file.is_file():
            reason = self._metadata.get("runtime_reason") or "its export failed when it was logged"
            raise ExportError(f"the model has no ONNX form: {reason}")
        return file

    @cached_property
    def _metadata(self) -> Mapping[str, Any]:
        import yaml

        content = yaml.safe_load((self.folder.parents[1] / "MLmodel").read_text(encoding="utf-8"))
        own: Mapping[str, Any] = (content.get("metadata") or {}).get("mlctl") or {}
        return own

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Name and activation of each output."""
        entries = self.state.get("outputs") or [{"name": "", "activation": ""}]
        return tuple(
            Output(kind="none", name=entry["name"], activation=entry["activation"]) for entry in entries
        )

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs in the file: "answer" for the only one."""
        names = [output.name for output in self.outputs]
        return [ANSWER] if len(names) == 1 else names

    @cached_property
    def scorer(self) -> scoring.Scorer:
        """The model in this process: Keras if it was saved, else ONNX Runtime."""
        with suppress_output():
            return (KerasScorer if self.has_keras else scoring.Scorer)(str(self.folder))

    @cached_property
    def keras_model(self) -> Any:
        """The Keras model; raises ExportError if there is none."""
        if not self.has_keras:
            raise ExportError(NO_KERAS)
        import keras

        code = self.folder / "code.pkl"
        objects = scoring.TravellingCode(code.read_bytes()).objects() if code.is_file() else {}
        with suppress_output(), scoring.keras_scope(objects):
            return keras.saving.load_model(self.folder / "model.keras", compile=False)

    @property
    def has_own_code(self) -> bool:
        """Whether layers, functions or an encoder of the user's own travel with the model."""
        return (self.folder / "code.pkl").is_file()

    def answers(self, raw: Raw) -> Any:
        """Return the answers to raw rows: an array, or a dict of arrays by output name."""
        return self.scorer(self._as_taken(raw))

    def encoded(self, raw: Raw) -> dict[str, Array]:
        """Return what the model takes for raw rows, by input name."""
        arrays = self.scorer.encode(self._as_taken(raw))
        return dict(arrays) if isinstance(arrays, Mapping) else {self.model_inputs[0].name: arrays}

    def _as_taken(self, raw: Raw) -> Any:
        if not self.info.signature.columns or self.scorer.takes_columns or not isinstance(raw, Mapping):
            return raw
        import pandas as pd

        return pd.DataFrame(dict(raw))

    @cached_property
    def model_inputs(self) -> tuple[RawInput, ...]:
        """What the model itself takes, after the encoder."""
        entries = self.state.get("inputs") or [{"name": "", "dtype": self.state["input_dtype"]}]
        encoded = self.scorer.encode(self._as_taken(take(self.samples, slice(0, 2))))
        arrays = encoded if isinstance(encoded, Mapping) else {entries[0]["name"]: encoded}
        declared = {}
        if self.has_keras:
            declared = {tensor.name: tensor for tensor in getattr(self.keras_model, "inputs", None) or ()}
            if len(declared) == 1 == len(entries):
                declared = {entries[0]["name"]: next(iter(declared.values()))}
        names = [entry["name"] or "encoded" for entry in entries]
        return tuple(
            RawInput(
                name=entry["name"] or "encoded",
                input=plain,
                dtype="string" if entry["dtype"] == scoring.TEXT else entry["dtype"],
                shape=tuple(declared[entry["name"]].shape[1:])
                if entry["name"] in declared
                else arrays[entry["name"]].shape[1:],
            )
            for entry, plain in zip(entries, input_names(names), strict=True)
        )

    def with_client_names(self, inputs: tuple[RawInput, ...]) -> tuple[RawInput, ...]:
        """Return the inputs under the names that clients use, which differ for a tuple of unnamed arrays."""
        names = [spec.name for spec in self.info.signature.tensors]
        if len(names) != len(inputs) or {given.name for given in inputs} == set(names):
            return inputs
        return tuple(replace(given, name=name) for name, given in zip(names, inputs, strict=True))

    def encoder_layers(self) -> EncoderLayers:
        """Return the encoder as a Keras model that answers as the encoder does. Raises NotHeldError."""
        with suppress_output():
            layers = encoder_layers(self.scorer.encoder, self.info.signature)
            rows = take(self.samples, slice(0, CHECKED_ROWS))
            found = layers(as_tensors(feed(layers.inputs, rows)))
        wanted = self.encoded(rows)
        answers = found if isinstance(found, Mapping) else {next(iter(wanted)): found}
        for name, array in wanted.items():
            gap = np.abs(np.asarray(answers[name], np.float64) - array).max(initial=0)
            if not gap <= ENCODER_TOLERANCE:
                raise NotHeldError(f"its layers differ from the encoder by {gap:.2g}")
        return layers

    def call(self, encoded: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the Keras model answers to tensors by input name, by output name, as probabilities."""
        structure = self.state.get("structure", "")
        names = [given.name for given in self.model_inputs]
        if isinstance(structure, str):
            return call_model(self.keras_model, encoded[names[0]], self.outputs)
        order = list(_leaf_names(structure))
        return call_model(
            self.keras_model, pack(_as_tree(structure), [encoded[name] for name in order]), self.outputs
        )


def take(rows: Raw, selected: Any) -> Raw:
    """Return some raw rows."""
    if isinstance(rows, Mapping):
        return {name: part[selected] for name, part in rows.items()}
    return rows[selected]


def count(rows: Raw) -> int:
    """Return the number of raw rows."""
    return len(next(iter(rows.values()))) if isinstance(rows, Mapping) else len(rows)


def feed(inputs: tuple[RawInput, ...], rows: Raw) -> dict[str, Array]:
    """Return raw rows as a file with these inputs takes them."""
    from mlctl.adapters.exports.clients.client import to_arrays

    return to_arrays(rows, [given.to_json() for given in inputs])


def as_tensors(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return arrays as TensorFlow's tensors; texts, too."""
    import tensorflow as tf

    return {
        name: tf.constant(array, "string" if array.dtype.kind in "OU" else array.dtype)
        for name, array in arrays.items()
    }


def _leaf_names(structure: Any) -> list[str]:
    if isinstance(structure, str):
        return [structure]
    parts = structure.values() if isinstance(structure, Mapping) else structure
    return [name for part in parts for name in _leaf_names(part)]


def _as_tree(structure: Any) -> Any:
    """Return a structure with tuples in place of JSON's lists."""
    if isinstance(structure, Mapping):
        return {name: _as_tree(part) for name, part in structure.items()}
    return structure if isinstance(structure, str) else tuple(_as_tree(part) for part in structure)
