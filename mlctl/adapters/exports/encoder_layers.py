"""Encoders as Keras models, so that they can be part of an exported file.

Every step that is listed here has the same result as in `serving.scoring`, in float64. A step that is not listed, and
an encoder of the user's own, raise NotHeldError: the encoder is then written beside the file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mlctl.serving import scoring
from mlctl.serving.payloads.signature import ModelSignature

LETTER_CASES: tuple[Callable[[str], str], ...] = (str.lower, str.title, str.upper)
_SEPARATORS = r'[!"#$%&()*+,\-./:;<=>?@\[\\\]^_{|}~`\t\n]'  # as scoring splits words

Array = np.ndarray[Any, Any]
Tensor = Any
State = Mapping[str, Any]


class NotHeldError(Exception):
    """A file cannot hold this encoder; the message is the reason in a few words."""


@dataclass(frozen=True, kw_only=True)
class RawInput:
    """One input of a model that takes what clients send.

    Attributes:
        name: Name of the column or tensor.
        input: Name of the input in the file, which has letters, digits and _ only.
        dtype: Type of the values; "string" for texts.
        shape: Shape of a row.
    """

    name: str
    input: str
    dtype: str
    shape: tuple[int | None, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the input as model.json has it."""
        return {"name": self.name, "input": self.input, "dtype": self.dtype, "shape": list(self.shape)}


@dataclass(frozen=True)
class EncoderLayers:
    """An encoder as a Keras model, and its inputs. The model answers an array, or a dict of arrays."""

    model: keras.Model
    inputs: tuple[RawInput, ...]

    def __call__(self, tensors: Mapping[str, Tensor]) -> Any:
        """Return the encoded rows of tensors by input name."""
        ordered = [tensors[given.input] for given in self.inputs]
        return self.model(ordered if len(ordered) > 1 else ordered[0])


def encoder_layers(encoder: Any, signature: ModelSignature) -> EncoderLayers:
    """Return an encoder as a Keras model. Raises NotHeldError if one of its steps has no layers."""
    build = _BUILDERS.get(type(encoder))
    if isinstance(encoder, scoring.NgramEncoder):
        raise NotHeldError("there are no layers for n-grams of words and characters")
    if build is None:
        raise NotHeldError("the encoder is code of your own")
    return build(encoder, signature)


def input_names(names: Sequence[str]) -> list[str]:
    """Return a name of letters, digits and _ for each name; no two are the same."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII) or "input"
        plain = f"_{plain}" if plain[0].isdigit() else plain
        number = 2
        unique = plain
        while unique in found:
            unique, number = f"{plain}_{number}", number + 1
        found.append(unique)
    return found


def _pixels(encoder: scoring.PixelEncoder, signature: ModelSignature) -> EncoderLayers:
    tensor = signature.tensor
    raw = RawInput(
        name="image",
        input="image",
        dtype=tensor.dtype if tensor else "float32",
        shape=tuple(encoder.shape),
    )
    given = keras.Input(raw.shape, dtype=raw.dtype, name=raw.input)
    scaled = ops.divide(ops.cast(given, "float32"), np.float32(encoder.high))
    return EncoderLayers(
        keras.Model(given, ops.expand_dims(scaled, -1) if len(raw.shape) == 2 else scaled), (raw,)
    )


@keras.saving.register_keras_serializable("mlctl")
class WordBreaks(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Texts in lower case, with a space in place of each character that ends a word."""

    def call(self, texts: Tensor) -> Tensor:
        """Return texts of the same shape."""
        return tf.strings.regex_replace(tf.strings.lower(texts), _SEPARATORS, " ")

    def compute_output_shape(self, shape: Any) -> Any:
        """Return the shape of the texts."""
        return shape

    def compute_output_spec(self, texts: Tensor) -> Tensor:
        """Return the texts' own specification."""
        return keras.KerasTensor(texts.shape, dtype="string")


def _words(encoder: scoring.TextEncoder, signature: ModelSignature) -> EncoderLayers:
    raw = RawInput(name=encoder.column, input=input_names([encoder.column])[0], dtype="string")
    given = keras.Input((), dtype="string", name=raw.input)
    return EncoderLayers(keras.Model(given, _multi_hot(given, encoder.vocabulary)), (raw,))


def _multi_hot(texts: Tensor, vocabulary: Sequence[str]) -> Tensor:
    """Return 1 for each word of a vocabulary that occurs in a text."""
    if any(scoring.split_words(word) != {word} for word in vocabulary):
        raise NotHeldError("its vocabulary has words that no text is split into")
    layer = keras.layers.TextVectorization(
        standardize=None, split="whitespace", output_mode="multi_hot", vocabulary=list(vocabulary)
    )
    return layer(WordBreaks()(texts))[:, 1:]  # the first one is for unknown words


def _tokens(encoder: scoring.TokenEncoder, signature: ModelSignature) -> EncoderLayers:
    if not encoder.vocabulary:
        raise NotHeldError("clients send lists of ids")
    if encoder.padding != "post" or encoder.truncating != "post":
        raise NotHeldError("Keras's layer fills and cuts rows at their end only")
    raw = RawInput(name=encoder.column, input=input_names([encoder.column])[0], dtype="string")
    given = keras.Input((), dtype="string", name=raw.input)
    layer = keras.layers.TextVectorization(
        standardize=None,
        split="whitespace",
        output_mode="int",
        output_sequence_length=encoder.length,
        vocabulary=encoder.vocabulary,
    )
    return EncoderLayers(keras.Model(given, ops.cast(layer(WordBreaks()(given)), "int32")), (raw,))


def _columns(encoder: scoring.ColumnsEncoder, signature: ModelSignature) -> EncoderLayers:
    kinds = {column.name: column.kind for column in signature.columns}
    names = list(encoder.columns)
    inputs, given, encoded = [], [], {}
    for name, plain in zip(names, input_names(names), strict=True):
        column = encoder.columns[name]
        is_text = kinds.get(name) in ("string", "boolean") or column["dtype"] == scoring.TEXT
        raw = RawInput(name=name, input=plain, dtype="string" if is_text else "float64")
        cells = keras.Input((), dtype=raw.dtype, name=raw.input)
        inputs.append(raw)
        given.append(cells)
        if column.get("vocabulary") is not None:
            if not is_text:
                raise NotHeldError(f"the numbers of column {name!r} are looked up as texts")
            values = _place(cells, column["vocabulary"])
        elif is_text and column["dtype"] != scoring.TEXT:
            raise NotHeldError(f"the texts of column {name!r} are read as numbers")
        elif is_text:
            raise NotHeldError(f"column {name!r} is a text")
        else:
            filled = ops.where(ops.isnan(cells), np.float64(column["fill"]), cells)
            values = ops.cast(filled, column["dtype"])
        encoded[name] = ops.expand_dims(values, -1)
    return EncoderLayers(_model(given, encoded), tuple(inputs))


def _place(texts: Tensor, known: Sequence[Any]) -> Tensor:
    """Return the place of each text among the known ones, from 1; 0 for every other text."""
    if not all(isinstance(text, str) and text for text in known):
        raise NotHeldError("its categories are no texts")
    if not known:
        return ops.zeros_like(ops.cast(ops.equal(texts, texts), "int64"))
    lookup = keras.layers.StringLookup(vocabulary=list(known), num_oov_indices=1)
    return ops.cast(lookup(texts), "int64")


class _Table:
    """The columns of a table as inputs of a Keras model; each column is made once, when a step needs it."""

    def __init__(self, columns: Mapping[str, State], signature: ModelSignature) -> None:
        self._kinds = {column.name: column.kind for column in signature.columns}
        self._columns = columns
        names = list(columns)
        self._plain = dict(zip(names, input_names(names), strict=True))
        self.given: dict[str, Tensor] = {}
        self.inputs: dict[str, RawInput] = {}

    def cells(self, name: str) -> Tensor:
        """Return the input of a column: float64 numbers, or texts."""
        if name not in self.given:
            kind = self._columns[name].get("kind")
            is_number = kind == "number" and self._kinds.get(name) not in ("string", "boolean")
            raw = RawInput(name=name, input=self._plain[name], dtype="float64" if is_number else "string")
            self.inputs[name] = raw
            self.given[name] = keras.Input((), dtype=raw.dtype, name=raw.input)
        return self.given[name]

    def number(self, name: str) -> Tensor:
        """Return a column of numbers, with NaN for missing values."""
        cells = self.cells(name)
        if self.inputs[name].dtype != "float64":
            raise NotHeldError(f"column {name!r} is no number")
        return cells

    def filled(self, name: str) -> Tensor:
        """Return a column of numbers without missing values."""
        cells = self.number(name)
        return ops.where(ops.isnan(cells), np.float64(self._columns[name]["fill"]), cells)

    def texts(self, name: str) -> Tensor:
        """Return a column of texts, with "" for missing values."""
        cells = self.cells(name)
        if self.inputs[name].dtype != "string":
            raise NotHeldError(f"column {name!r} is a number")
        return cells


def _number(table: _Table, step: State) -> Tensor:
    return _column(table.filled(step["of"]))


def _robust(table: _Table, step: State) -> Tensor:
    distance = ops.divide(
        ops.subtract(table.filled(step["of"]), np.float64(step["center"])), np.float64(step["range"])
    )
    rest = ops.square(ops.divide(distance, np.float64(3)))
    return _column(ops.divide(distance, ops.sqrt(ops.add(np.float64(1), rest))))


def _log(table: _Table, step: State) -> Tensor:
    return _column(_log1p(ops.maximum(table.filled(step["of"]), np.float64(0))))


def _ratio(table: _Table, step: State) -> Tensor:
    above = ops.maximum(table.filled(step["of"]), np.float64(0))
    return _column(_log1p(ops.divide(above, ops.maximum(table.filled(step["by"]), np.float64(1e-9)))))


def _missing(table: _Table, step: State) -> Tensor:
    return ops.cast(_column(ops.isnan(table.number(step["of"]))), "float64")


def _category(table: _Table, step: State) -> Tensor:
    known = step["known"]
    place = _place(table.texts(step["of"]), known)
    return ops.cast(ops.equal(_column(place), np.arange(1, len(known) + 1, dtype=np.int64)), "float64")


def _bins(table: _Table, step: State) -> Tensor:
    low, high = np.array(list(itertools.pairwise(step["edges"])), np.float64).reshape(-1, 2).T
    share = ops.divide(ops.subtract(_column(table.filled(step["of"])), low), high - low)
    return ops.minimum(ops.maximum(share, np.float64(0)), np.float64(1))


def _boolean(table: _Table, step: State) -> Tensor:
    signs = {change(word): sign for word, sign in scoring._SIGNS.items() for change in LETTER_CASES}
    place = _place(table.texts(step["of"]), list(signs))
    return _column(ops.take(np.array([0.0, *signs.values()], np.float64), place))


def _text(table: _Table, step: State) -> Tensor:
    return ops.cast(_multi_hot(table.texts(step["of"]), step["known"]), "float64")


def _distance(table: _Table, step: State) -> Tensor:
    squares = [
        ops.square(ops.subtract(table.filled(name), np.float64(start)))
        for name, start in zip(step["of"], step["from"], strict=True)
    ]
    return _column(_log1p(ops.multiply(np.float64(10), ops.sqrt(ops.add(*squares)))))


def _waves(table: _Table, step: State) -> Tensor:
    north, east = (_column(table.filled(name)) for name in step["of"])
    parts = []
    for number in range(step["directions"]):
        angle = number * np.pi / step["directions"]
        along = ops.add(ops.multiply(north, np.cos(angle)), ops.multiply(east, np.sin(angle)))
        parts.append(along)
        for frequency in step["frequencies"]:
            phase = ops.multiply(along, np.float64(2 * np.pi * frequency))
            # not the cosine: ONNX Runtime has none for float64
            parts += [ops.sin(phase), ops.sin(ops.add(phase, np.float64(np.pi / 2)))]
    return ops.concatenate(parts, axis=-1)


def _log1p(values: Tensor) -> Tensor:
    return ops.log(ops.add(np.float64(1), values))  # ONNX has no log1p


def _model(given: Sequence[Tensor], encoded: Any) -> keras.Model:
    return keras.Model(given if len(given) > 1 else given[0], encoded)


def _column(values: Tensor) -> Tensor:
    return ops.expand_dims(values, -1)


STEPS: dict[str, Callable[[_Table, State], Tensor]] = {
    "number": _number,
    "robust": _robust,
    "log": _log,
    "ratio": _ratio,
    "missing": _missing,
    "category": _category,
    "bins": _bins,
    "boolean": _boolean,
    "text": _text,
    "distance": _distance,
    "waves": _waves,
}


def _table(encoder: scoring.TableEncoder, signature: ModelSignature) -> EncoderLayers:
    table = _Table(encoder.columns, signature)
    parts = []
    for step, width in zip(encoder.steps, encoder.widths(), strict=True):
        if step["make"] not in STEPS:
            raise NotHeldError(f"the encoder's step {step['make']!r} has no layers")
        if width:
            parts.append(STEPS[step["make"]](table, step))
    if not parts:
        raise NotHeldError("the encoder has no steps")
    features = ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    scaled = ops.divide(ops.subtract(features, encoder.mean), encoder.scale)
    limited = ops.minimum(ops.maximum(scaled, np.float64(-10)), np.float64(10))
    return EncoderLayers(
        _model(list(table.given.values()), ops.cast(limited, "float32")), tuple(table.inputs.values())
    )


_BUILDERS: dict[Any, Callable[[Any, ModelSignature], EncoderLayers]] = {
    scoring.PixelEncoder: _pixels,
    scoring.TextEncoder: _words,
    scoring.TokenEncoder: _tokens,
    scoring.ColumnsEncoder: _columns,
    scoring.TableEncoder: _table,
}
