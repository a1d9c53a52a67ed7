"""Export to SavedModel, Keras and LiteRT files, with the encoder in the file if it can hold it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from mlctl.adapters.exports.encoder_layers import NotHeldError, RawInput, WordBreaks
from mlctl.adapters.exports.model_parts import NO_KERAS, HeldEncoder, ModelParts, as_tensors, feed, take
from mlctl.adapters.exports.predict_script import BESIDE, INSIDE, NO_ENCODER
from mlctl.adapters.exports.written_file import Calibration, WrittenFile
from mlctl.adapters.models.export_error import ExportError
from mlctl.adapters.models.silence import suppress_output
from mlctl.domain.short_texts import first_line, one_line
from mlctl.serving import scoring

VERSION_FOLDER = "1"  # TensorFlow Serving loads the folder with the largest number
KERAS_FILE, LITERT_FILE = "model.keras", "model.tflite"
KERAS_TOLERANCE = 1e-4
SERVE = "serving_default"


def write_saved_model(parts: ModelParts, folder: Path) -> WrittenFile:
    """Write 1/saved_model.pb with the signature serving_default. Raises ExportError."""
    held = _hold(parts)
    module, concrete = _trace(parts, held)
    try:
        with suppress_output(), _quiet_descriptors():
            tf.saved_model.save(module, str(folder / VERSION_FOLDER), signatures={SERVE: concrete})
    except Exception as exc:
        raise ExportError(f"TensorFlow cannot save the model: {first_line(exc)}") from exc
    return WrittenFile(file=VERSION_FOLDER, held=held.encoder)


def write_keras(parts: ModelParts, folder: Path) -> WrittenFile:
    """Write model.keras: with the encoder as layers of Keras if they need no code, else as it was logged."""
    if not parts.has_keras:
        raise ExportError(NO_KERAS)
    target = folder / KERAS_FILE
    source = parts.folder / KERAS_FILE
    answers_logits = any(output.activation for output in parts.outputs)
    if parts.scorer.encoder is None and not answers_logits and not parts.has_own_code:
        shutil.copyfile(source, target)
        return WrittenFile(file=KERAS_FILE, held=HeldEncoder(_alone(parts, by_client=True), NO_ENCODER))
    try:
        inputs = _save_with_encoder(parts, target)
        place = INSIDE if parts.scorer.encoder is not None else NO_ENCODER
        return WrittenFile(file=KERAS_FILE, held=HeldEncoder(inputs, place))
    except (NotHeldError, ValueError, TypeError) as exc:
        shutil.copyfile(source, target)
        reason = str(exc) if isinstance(exc, NotHeldError) else "Keras cannot save its layers"
        return WrittenFile(file=KERAS_FILE, held=HeldEncoder(_alone(parts), BESIDE, reason))


def _save_with_encoder(parts: ModelParts, target: Path) -> tuple[RawInput, ...]:
    """Write the model with its encoder and its outputs' activations as layers; return the file's inputs."""
    if parts.has_own_code:
        raise NotHeldError("its layers are code of your own")
    held = _hold(parts)
    if held.encoder.place == BESIDE:
        raise NotHeldError(held.encoder.reason)
    inputs, encoded = parts.keras_model.inputs, None
    if held.layers:
        inputs, encoded = held.layers.model.inputs, held.layers.model.output
        if any(isinstance(layer, WordBreaks) for layer in held.layers.model.layers):
            raise NotHeldError("a Keras file has no layer that splits texts as the encoder does")
    answers = parts.call(_by_name(parts, encoded, inputs))
    whole = keras.Model(list(inputs), next(iter(answers.values())) if len(answers) == 1 else dict(answers))
    with suppress_output():
        whole.save(target)
        _check_keras(target, held.encoder.inputs, parts)
    return held.encoder.inputs


def write_litert(parts: ModelParts, folder: Path, quantize: str, calibration: Calibration) -> WrittenFile:
    """Write model.tflite. Raises ExportError if LiteRT has no operator for a part of the model."""
    encoder = parts.scorer.encoder
    if isinstance(encoder, scoring.PixelEncoder) and quantize != "int8":
        held = _hold(parts)
    else:
        place = NO_ENCODER if encoder is None else BESIDE
        reason = "" if encoder is None else "LiteRT has no operators for texts and tables"
        if isinstance(encoder, scoring.PixelEncoder):
            reason = "int8 numbers are chosen for encoded images"
        held = _Held(HeldEncoder(_alone(parts, by_client=encoder is None), place, reason), None)
    module, concrete = _freeze(_trace(parts, held)[1], held, parts.output_names)
    content = _convert(module, concrete, quantize, calibration, held)
    float32_bytes = len(_convert(module, concrete, "", calibration, held)) if quantize else None
    (folder / LITERT_FILE).write_bytes(content)
    return WrittenFile(file=LITERT_FILE, held=held.encoder, float32_bytes=float32_bytes)


class _Held:
    """Where the encoder is; its layers if they are in the file."""

    def __init__(self, encoder: HeldEncoder, layers: Any) -> None:
        self.encoder = encoder
        self.layers = layers


def _hold(parts: ModelParts) -> _Held:
    """Return the encoder as layers, or why it must lie beside the file."""
    if parts.scorer.encoder is None:
        return _Held(HeldEncoder(_alone(parts, by_client=True), NO_ENCODER), None)
    try:
        layers = parts.encoder_layers()
        return _Held(HeldEncoder(layers.inputs, INSIDE), layers)
    except NotHeldError as exc:
        return _Held(HeldEncoder(_alone(parts), BESIDE, str(exc)), None)


def _alone(parts: ModelParts, by_client: bool = False) -> tuple[RawInput, ...]:
    """Return the inputs of the model without its encoder. `by_client`: under the names that clients use."""
    inputs = parts.model_inputs
    if by_client:
        return parts.with_client_names(inputs)
    if len(inputs) > 1 and any(given.name != given.input for given in inputs):
        raise ExportError("the model's inputs have names that TensorFlow does not take")
    return inputs


def _trace(parts: ModelParts, held: _Held) -> tuple[Any, Any]:
    """Return a module and its function, which takes the inputs and answers the outputs by name."""
    module = tf.Module()
    module.model = parts.keras_model
    module.states = list(parts.keras_model.variables)  # a saved graph needs those of random layers, too
    module.encoder = held.layers.model if held.layers else None
    names = parts.output_names
    inputs = held.encoder.inputs

    def serve(**given: Any) -> dict[str, Any]:
        ordered = [given[one.input] for one in inputs]
        encoded = None
        if held.layers:
            encoded = held.layers(given)
        answers = parts.call(_by_name(parts, encoded, ordered))
        return {name: tf.identity(answer) for name, answer in zip(names, answers.values(), strict=True)}

    specs = {
        given.input: tf.TensorSpec((None, *given.shape), given.dtype, name=given.input) for given in inputs
    }
    try:
        with suppress_output(), _quiet_descriptors():
            module.serve = tf.function(serve, autograph=False)
            return module, module.serve.get_concrete_function(**specs)
    except Exception as exc:
        raise ExportError(f"TensorFlow cannot trace the model: {first_line(exc)}") from exc


def _freeze(concrete: Any, held: _Held, names: list[str]) -> tuple[Any, Any]:
    """Return a module and a function with the weights as constants: LiteRT's converter leaves variables empty."""
    frozen = convert_variables_to_constants_v2(concrete)
    # the frozen function takes and answers tensors in an order of its own, and names inputs as placeholders
    inputs = {given.name.partition(":")[0]: given for given in concrete.inputs}
    order = [given.input for given in held.encoder.inputs if given.input in inputs]
    if len(order) != len(held.encoder.inputs) or len(frozen.inputs) != len(order):
        raise ExportError("the names of its inputs are lost in TensorFlow's graph")
    places = [given.name.partition(":")[0] for given in frozen.inputs]
    answered = sorted(concrete.structured_outputs)  # as TensorFlow flattens a dict
    module = tf.Module()

    def serve(**given: Any) -> dict[str, Any]:
        found = frozen(*(given[name] for name in places))
        flat = found if isinstance(found, (list, tuple)) else [found]
        named = dict(zip(answered, flat, strict=True))
        return {name: named[name] for name in names}

    module.serve = tf.function(serve, autograph=False)
    specs = {
        given.input: tf.TensorSpec((None, *given.shape), given.dtype, name=given.input)
        for given in held.encoder.inputs
    }
    return module, module.serve.get_concrete_function(**specs)


def _by_name(parts: ModelParts, encoded: Any, given: Any) -> dict[str, Any]:
    """Return the model's input tensors by its own names, from encoded tensors or from the given ones."""
    names = [one.name for one in parts.model_inputs]
    if encoded is None:
        return dict(zip(names, given, strict=True))
    return dict(encoded) if isinstance(encoded, Mapping) else {names[0]: encoded}


def _convert(module: Any, concrete: Any, quantize: str, calibration: Calibration, held: _Held) -> bytes:
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif quantize == "int8":
        rows = calibration()
        count = len(next(iter(rows.values())))

        def representative() -> Iterator[dict[str, Any]]:
            for row in range(count):
                yield {given.input: rows[given.name][row : row + 1] for given in held.encoder.inputs}

        converter.representative_dataset = representative
    try:
        with suppress_output(), _quiet_descriptors():
            return bytes(converter.convert())
    except Exception as exc:
        raise ExportError(f"LiteRT cannot convert the model: {_converter_reason(exc)}") from exc


def _check_keras(file: Path, inputs: tuple[RawInput, ...], parts: ModelParts) -> None:
    """Raise NotHeldError if the written file answers differently."""
    model = keras.saving.load_model(file, compile=False)
    rows = take(parts.samples, slice(0, 8))
    fed = as_tensors(feed(inputs, rows))
    found = model(next(iter(fed.values())) if len(fed) == 1 else fed, training=False)
    wanted = parts.answers(rows)
    pairs = [(found, wanted)]
    if isinstance(wanted, Mapping):
        pairs = [(found[name], array) for name, array in wanted.items()]
    for answer, array in pairs:
        if not np.allclose(ops.convert_to_numpy(answer), array, rtol=KERAS_TOLERANCE, atol=KERAS_TOLERANCE):
            raise NotHeldError("the saved layers answer differently")


@contextmanager
def _quiet_descriptors() -> Iterator[None]:
    """Silence what TensorFlow's C++ code writes to stderr."""
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def _converter_reason(exc: Exception) -> str:
    text = str(exc)
    for mark in ("needs-flex-ops", "Flex ops:", "custom op"):
        if mark in text:
            line = next((line for line in text.splitlines() if "ops:" in line.lower()), "")
            return f"it has no operators for a part of it ({one_line(line, 100)})" if line else one_line(text)
    return first_line(exc)
