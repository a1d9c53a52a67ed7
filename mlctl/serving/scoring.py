"""From raw client input to predictions. A copy of this file is saved with every model, so it does not import mlctl.

An encoder turns what a client sends (pixels in their original range, a text, a table's rows with missing values)
into the model's input. ONNX Runtime predicts, or Keras if the model cannot be exported. Training uses the same
encoders, so a served model receives what it was trained on.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.abc
import importlib.util
import io
import itertools
import json
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
State = dict[str, Any]

# The characters that Keras's Tokenizer removes; apostrophes stay. The IMDB word index was built with it.
_SEPARATORS = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_{|}~`\t\n', " "))
_TRUE_WORDS, _FALSE_WORDS = ("true", "yes", "y", "t", "on", "1"), ("false", "no", "n", "f", "off", "0")
_BATCH_ROWS = 256  # limits memory: a row of a 30,000-word vocabulary takes 120 kB
_BATCH_BYTES = 1 << 20  # of raw input, for models that do not say what memory a row takes
_LAYER_BYTES = 64 << 20  # of all layers' outputs: more rows of large images together are not answered faster
OWN_ENCODER = "own"  # kind of an encoder that travels as code
ABSENT = "__mlctl_absent__"  # name of the stand-in for mlctl in modules that travel as source text
TEXT = "str"  # dtype of an input of texts
_keras_lock = threading.RLock()
# features of a table are computed in blocks of at most 2 MB, whatever its length and width
_BLOCK_ROWS, _BLOCK_CELLS = 4096, 1 << 18


class BadCell(ValueError):
    """A cell is of another kind than every value of its column in the training data."""


class PixelEncoder:
    """Encodes images (n, height, width[, channels]) in their original range to float32 in 0..1, with channels."""

    kind = "pixels"

    def __init__(self, shape: Sequence[int], high: float) -> None:
        """`shape` is that of one raw image, `high` the value of a fully lit pixel (16 for digits, 255 for mnist)."""
        self.shape = tuple(shape)
        self.high = float(high)

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {"shape": list(self.shape), "high": self.high}

    def __call__(self, raw: Any) -> Array:
        """Encode (n, *shape) numbers to (n, height, width, channels). Raises ValueError for another shape."""
        images = np.asarray(raw)
        if images.shape[1:] != self.shape:
            raise ValueError(f"the images must have shape {self.shape}, not {images.shape[1:]}")
        images = images.astype(np.float32) / np.float32(self.high)
        return images[..., np.newaxis] if len(self.shape) == 2 else images


def split_words(text: str) -> set[str]:
    """Return the words of a text as the IMDB word index counts them; they may include ""."""
    return set(text.lower().translate(_SEPARATORS).split(" "))


def count_words(texts: Any) -> dict[str, int]:
    """Return how often each word occurs in texts, in lower case and without punctuation."""
    counts: dict[str, int] = {}
    for text in np.asarray(texts, dtype=object).ravel():
        if _is_gap(text):
            continue
        for word in _as_text(text).lower().translate(_SEPARATORS).split():
            counts[word] = counts.get(word, 0) + 1
    return counts


class TextEncoder:
    """Encodes texts to multi-hot rows (n, vocabulary) float32: 1 for each word of the vocabulary that occurs."""

    kind = "words"

    def __init__(self, vocabulary: Sequence[str], column: str = "text") -> None:
        """`vocabulary` lists the words, most frequent first; `column` is the name of the text column in a table."""
        self.vocabulary = list(vocabulary)
        self.column = column
        self._columns = {word: number for number, word in enumerate(self.vocabulary)}

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {"vocabulary": self.vocabulary, "column": self.column}

    def columns(self, text: str | bytes) -> list[int]:
        """Return the vocabulary index of each word in a text, once each; unknown words are dropped."""
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if not isinstance(text, str):
            raise TypeError(f"expected a text, not {type(text).__name__}")
        return [column for word in split_words(text) if (column := self._columns.get(word)) is not None]

    def __call__(self, raw: Any) -> Array:
        """Encode n texts (a list, an array, or a table with the text column) to (n, vocabulary)."""
        texts = raw[self.column] if hasattr(raw, "columns") else np.asarray(raw, dtype=object).ravel()
        rows = np.zeros((len(texts), len(self.vocabulary)), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[self.columns(text)] = 1
        return rows


class TableEncoder:
    """Encodes rows of a table to scaled features (n, width) float32.

    The rows may have missing values and unknown categories. Each of `steps` computes one or more features:

    - a number, with missing values replaced by the median; its logarithm; the ratio of two numbers
    - how far a number fills each of several bins
    - whether a value is missing
    - a category as one-hot columns, true or false, the words of a text, the parts of a date
    - the distance from a point, or a position as waves of several directions and frequencies, so that a network can
      tell regions apart

    All features are scaled to mean 0 and standard deviation 1.
    """

    kind = "table"

    def __init__(
        self, columns: State, steps: Sequence[State], mean: Sequence[float], scale: Sequence[float]
    ) -> None:
        """`columns` maps each raw column to {"kind", "fill"}; `mean` and `scale` have shape (width,)."""
        self.columns = columns
        self.steps = steps
        self.mean = np.asarray(mean, np.float64)
        self.scale = np.asarray(scale, np.float64)

    @classmethod
    def fitted(cls, rows: Any, steps: Sequence[Mapping[str, Any]]) -> TableEncoder:
        """Return an encoder with these steps, fitted to training rows (a DataFrame)."""
        columns = {}
        for name in rows:
            numeric = rows[name].dtype.kind in "iuf"
            values = rows[name].dropna().to_numpy() if numeric else ()
            fill = (float(np.median(values)) if len(values) else 0.0) if numeric else ""
            columns[name] = {"kind": "number" if numeric else "category", "fill": fill}
        fitted_steps = [{**step, **_fit_step(step, rows)} for step in steps]
        encoder = cls(columns, fitted_steps, [0.0], [1.0])
        width = sum(encoder.widths(rows))
        encoder.mean, encoder.scale = np.zeros(width), np.ones(width)
        mean = encoder._sum_rows(rows) / len(rows)
        encoder.mean = mean
        deviation = np.sqrt(encoder._sum_rows(rows, np.square) / len(rows))
        encoder.scale = np.where(deviation > 1e-12, deviation, 1.0)
        return encoder

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {
            "columns": self.columns,
            "steps": self.steps,
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
        }

    def __call__(self, raw: Any) -> Array:
        """Encode n rows (a DataFrame) to (n, width) float32. An absent column counts as missing values.

        Raises BadCell, which names row and column, for a text that is not a date if all were dates in training.
        """
        encoded = np.empty((len(raw), len(self.mean)), np.float32)
        for row_slice, feature_slice, features in self._feature_blocks(raw):
            scaled = (features - self.mean[feature_slice]) / self.scale[feature_slice]
            # an absurd value must not drown the others
            encoded[row_slice, feature_slice] = np.clip(scaled, -10.0, 10.0)
        return encoded

    def widths(self, rows: Any) -> list[int]:
        """Return the number of features of each step, computed for the first of these rows."""
        first = rows[:1]
        return [len(self._compute(first, step)) for step in self.steps]

    def _feature_blocks(self, rows: Any) -> Iterator[tuple[slice, slice, Array]]:
        """Yield unscaled features in blocks, each with its slice of the rows and of the features."""
        for first in range(0, len(rows), _BLOCK_ROWS):
            block = rows if len(rows) <= _BLOCK_ROWS else rows[first : first + _BLOCK_ROWS]
            features: list[Array] = []
            start = 0
            for number, step in enumerate(self.steps, 1):
                features.extend(self._compute(block, step))
                is_last = number == len(self.steps)
                if features and (len(features) * len(block) >= _BLOCK_CELLS or is_last):
                    feature_slice = slice(start, start + len(features))
                    yield slice(first, first + len(block)), feature_slice, np.stack(features, axis=1)
                    features, start = [], feature_slice.stop

    def _sum_rows(self, rows: Any, transform: Callable[[Array], Array] = np.asarray) -> Array:
        """Return the sum over rows of `transform` of each feature's difference from its mean."""
        sums = np.zeros(len(self.mean))
        for _, feature_slice, features in self._feature_blocks(rows):
            terms = np.concatenate(
                [sums[np.newaxis, feature_slice], transform(features - self.mean[feature_slice])]
            )
            sums[feature_slice] = terms.cumsum(axis=0)[-1]  # row by row, so that the blocks do not matter
        return sums

    def _compute(self, rows: Any, step: Mapping[str, Any]) -> list[Array]:
        features: list[Array] = getattr(self, "_make_" + step["make"])(rows, step)
        return features

    def _number(self, rows: Any, name: str) -> Array:
        """Return a column as (n,) float64, with NaN for missing values."""
        if name not in rows:
            return np.full(len(rows), np.nan)
        values = rows[name]
        if values.dtype.kind not in "iufb":  # numbers with None or pandas' NA
            values = values.astype("Float64")
        numbers: Array = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return numbers

    def _filled(self, rows: Any, name: str) -> Array:
        values = self._number(rows, name)
        return np.where(np.isnan(values), self.columns[name]["fill"], values)

    def _make_number(self, rows: Any, step: State) -> list[Array]:
        return [self._filled(rows, step["of"])]

    def _make_log(self, rows: Any, step: State) -> list[Array]:
        return [np.log1p(np.maximum(self._filled(rows, step["of"]), 0.0))]

    def _make_ratio(self, rows: Any, step: State) -> list[Array]:
        numerator, denominator = self._filled(rows, step["of"]), self._filled(rows, step["by"])
        return [np.log1p(np.maximum(numerator, 0.0) / np.maximum(denominator, 1e-9))]

    def _make_missing(self, rows: Any, step: State) -> list[Array]:
        return [np.isnan(self._number(rows, step["of"])).astype(np.float64)]

    def _make_category(self, rows: Any, step: State) -> list[Array]:
        is_absent = step["of"] not in rows
        cells = np.full(len(rows), None) if is_absent else np.array(rows[step["of"]], dtype=object)
        return [(cells == category).astype(np.float64) for category in step["known"]]

    def _make_bins(self, rows: Any, step: State) -> list[Array]:
        """Return how far a number fills each bin, 0..1: piecewise linear, so that a network can bend it at each edge."""
        edges, values = np.asarray(step["edges"]), self._filled(rows, step["of"])
        return [np.clip((values - low) / (high - low), 0.0, 1.0) for low, high in itertools.pairwise(edges)]

    def _lower_texts(self, rows: Any, name: str) -> list[str]:
        """Return a column as texts in lower case, with "" for missing values."""
        if name not in rows:
            return [""] * len(rows)
        return ["" if cell is None or cell != cell else str(cell).lower() for cell in rows[name]]

    def _make_boolean(self, rows: Any, step: State) -> list[Array]:
        """Return 1 for true, -1 for false, 0 for a missing value."""
        signs = {**dict.fromkeys(_TRUE_WORDS, 1.0), **dict.fromkeys(_FALSE_WORDS, -1.0)}
        return [np.array([signs.get(text, 0.0) for text in self._lower_texts(rows, step["of"])])]

    def _make_text(self, rows: Any, step: State) -> list[Array]:
        """Return 1 for each known word that occurs in a text, else 0."""
        features = np.zeros((len(step["known"]), len(rows)))
        index = {word: number for number, word in enumerate(step["known"])}
        for row, text in enumerate(self._lower_texts(rows, step["of"])):
            for word in text.translate(_SEPARATORS).split():
                if word in index:
                    features[index[word], row] = 1.0
        return list(features)

    def _make_date(self, rows: Any, step: State) -> list[Array]:
        """Return a date's years since 2000, waves of its season, weekday and hour, and whether it is missing."""
        import pandas as pd  # MLflow requires it, but requests without dates do not need it

        cells = rows[step["of"]] if step["of"] in rows else np.full(len(rows), None)
        texts = pd.Series(np.asarray(cells, dtype=object))
        dates = pd.to_datetime(texts, format=step["format"], errors="coerce", utc=True)
        is_missing = dates.isna().to_numpy()
        is_invalid = is_missing & texts.notna().to_numpy()
        if step.get("sure") and is_invalid.any():
            position = int(is_invalid.argmax())
            iso = step["format"] == "ISO8601"
            example = "2021-12-31" if iso else f"{datetime(2021, 12, 31):{step['format']}}"
            raise BadCell(
                f"{json.dumps(str(texts[position])[:40], ensure_ascii=False)} in row {rows.index[position]},"
                f" column {json.dumps(step['of'], ensure_ascii=False)} is not a date such as {example}"
            )
        dates = dates.fillna(pd.Timestamp("2000-01-01", tz="UTC")).dt
        days = (dates.normalize() - pd.Timestamp("2000-01-01", tz="UTC")).dt.days.to_numpy(np.float64)
        hours = dates.hour.to_numpy() + dates.minute.to_numpy() / 60
        cycles = (days / 365.2425, days / 7, hours / 24)
        waves = [wave(2 * np.pi * cycle) for cycle in cycles for wave in (np.sin, np.cos)]
        features = [np.where(is_missing, 0.0, feature) for feature in (days / 365.2425, *waves)]
        return [*features, is_missing.astype(np.float64)]

    def _make_distance(self, rows: Any, step: State) -> list[Array]:
        north, east = (self._filled(rows, name) for name in step["of"])
        return [np.log1p(10.0 * np.hypot(north - step["from"][0], east - step["from"][1]))]

    def _make_waves(self, rows: Any, step: State) -> list[Array]:
        """Return a position along several directions, and its sines and cosines at each frequency (1/degree)."""
        north, east = (self._filled(rows, name) for name in step["of"])
        waves: list[Array] = []
        for angle in np.arange(step["directions"]) * np.pi / step["directions"]:
            along = north * np.cos(angle) + east * np.sin(angle)
            waves.append(along)
            for frequency in step["frequencies"]:
                waves.extend([np.sin(2 * np.pi * frequency * along), np.cos(2 * np.pi * frequency * along)])
        return waves


def _fit_step(step: Mapping[str, Any], rows: Any) -> State:
    """Return what a step learns from training rows: its categories, words or bin edges, at most `most`."""
    make, most = step["make"], step.get("most")
    if make == "category":
        counts = rows[step["of"]].value_counts()
        return {"known": sorted(counts.index[:most].tolist())}
    if make == "text":
        text_counts: dict[str, int] = {}
        for text in rows[step["of"]].dropna():
            for word in set(str(text).lower().translate(_SEPARATORS).split()):
                text_counts[word] = text_counts.get(word, 0) + 1
        by_frequency = sorted((-count, word) for word, count in text_counts.items() if 1 < count < len(rows))
        return {"known": [word for _, word in by_frequency[:most]]}
    if make == "bins":
        values = rows[step["of"]].dropna().to_numpy(np.float64)
        if not len(values):
            return {"edges": []}
        return {"edges": np.unique(np.quantile(values, np.linspace(0, 1, step["most"] + 1))).tolist()}
    return {}


class TokenEncoder:
    """Encodes texts, or lists of token ids, to rows of ids (n, length) int32, filled up with 0.

    The id of a word is its place in the vocabulary plus 2; 1 stands for every other word.
    """

    kind = "tokens"

    def __init__(
        self,
        vocabulary: Sequence[str] | None,
        *,
        length: int | None = None,
        padding: str = "post",
        truncating: str = "post",
        column: str = "text",
    ) -> None:
        """`vocabulary` lists the words, most frequent first; None: clients send lists of ids.

        `length` is the number of ids of a row; None: that of the longest row of a request. `padding` and `truncating`
        are "pre" or "post", as Keras's `pad_sequences` takes them. `column` is the name of the column in a table.
        """
        self.vocabulary = None if vocabulary is None else list(vocabulary)
        self.length = length
        self.padding, self.truncating = padding, truncating
        self.column = column
        self._ids = {word: number for number, word in enumerate(self.vocabulary or (), 2)}

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of an encoded row."""
        return (self.length,)

    @property
    def size(self) -> int:
        """The number of different ids, as `Embedding` takes it; of lists of ids it is unknown."""
        return len(self.vocabulary or ()) + 2

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {
            "vocabulary": self.vocabulary,
            "length": self.length,
            "padding": self.padding,
            "truncating": self.truncating,
            "column": self.column,
        }

    def ids(self, row: Any) -> Any:
        """Return the ids of a text, or of a list of ids."""
        if self.vocabulary is None:
            return np.asarray(row).ravel()
        if isinstance(row, bytes):
            row = row.decode("utf-8")
        if row is None or row != row:  # a gap in a table
            return []
        if not isinstance(row, str):
            raise TypeError(f"expected a text, not {type(row).__name__}")
        return [self._ids.get(word, 1) for word in row.lower().translate(_SEPARATORS).split()]

    def __call__(self, raw: Any) -> Array:
        """Encode n texts or lists of ids (a list, an array, or a table with the column) to (n, length)."""
        rows = self._rows(raw)
        encoded = [self.ids(row) for row in rows]
        length = self.length or max(map(len, encoded), default=0) or 1
        ids = np.zeros((len(encoded), length), np.int32)
        for row, found in zip(ids, encoded, strict=True):
            kept = found[-length:] if self.truncating == "pre" else found[:length]
            if len(kept):
                row[slice(-len(kept), None) if self.padding == "pre" else slice(len(kept))] = kept
        return ids

    def _rows(self, raw: Any) -> Any:
        if hasattr(raw, "columns"):
            return list(raw[self.column] if self.column in raw else raw[raw.columns[0]])
        return raw if self.vocabulary is None else np.asarray(raw, dtype=object).ravel()


class ColumnsEncoder:
    """Encodes rows of a table to a dict of named inputs (n, 1): float32, int64, or texts."""

    kind = "columns"

    def __init__(self, columns: Mapping[str, State]) -> None:
        """`columns` maps each column to {"dtype": "float32", "int64" or "str", "fill", "vocabulary"}.

        "fill" replaces missing values. With a vocabulary, a cell becomes its place in it, counted from 1; 0 stands
        for every other cell.
        """
        self.columns = dict(columns)

    @classmethod
    def fitted(cls, rows: Any, vocabularies: Sequence[str] = ()) -> ColumnsEncoder:
        """Return the encoder for rows like these training rows (a DataFrame)."""
        columns: dict[str, State] = {}
        for name in rows:
            cells, kind = rows[name], getattr(rows[name].dtype, "kind", "O")
            if name in vocabularies:
                counts = cells.dropna().map(_as_text).value_counts()
                known = [word for _, word in sorted((-count, word) for word, count in counts.items())]
                columns[str(name)] = {"dtype": "int64", "fill": "", "vocabulary": known}
            elif kind in "iub" and not cells.isna().any():
                columns[str(name)] = {"dtype": "int64", "fill": 0}
            elif kind in "iufb":
                filled = cells.dropna().to_numpy(np.float64)
                columns[str(name)] = {
                    "dtype": "float32",
                    "fill": float(np.median(filled)) if len(filled) else 0.0,
                }
            else:
                columns[str(name)] = {"dtype": "str", "fill": ""}
        return cls(columns)

    def state(self) -> State:
        """Return the state from which `encoder_from_state` restores this encoder."""
        return {"columns": self.columns}

    def __call__(self, raw: Any) -> dict[str, Array]:
        """Encode n rows (a DataFrame, or a dict of columns). An absent column counts as missing values.

        Raises BadCell for a cell of another kind than the column's.
        """
        count = len(next(iter(raw.values()))) if isinstance(raw, Mapping) else len(raw)
        return {
            name: self._column(name, raw[name] if name in raw else [None] * count) for name in self.columns
        }

    def _column(self, name: str, cells: Any) -> Array:
        column = self.columns[name]
        dtype = getattr(cells, "dtype", None)
        if column["dtype"] == "float32" and getattr(dtype, "kind", "O") in "iufb":
            numbers = np.asarray(cells, np.float64)
            return np.where(np.isnan(numbers), column["fill"], numbers).astype(np.float32).reshape(-1, 1)
        values = list(np.asarray(cells, dtype=object).ravel())
        filled = [column["fill"] if _is_gap(cell) else cell for cell in values]
        if column.get("vocabulary") is not None:
            ids = {word: number for number, word in enumerate(column["vocabulary"], 1)}
            return np.array([ids.get(_as_text(cell), 0) for cell in filled], np.int64).reshape(-1, 1)
        if column["dtype"] == "str":
            texts = np.empty((len(filled), 1), object)
            texts[:, 0] = [_as_text(cell) for cell in filled]
            return texts
        encoded = np.empty((len(filled), 1), column["dtype"])
        for row, cell in enumerate(filled):
            try:
                number = float(cell)
            except (TypeError, ValueError):
                number = np.nan
            if number != number or (column["dtype"] == "int64" and number != int(number)):
                kind = "whole number" if column["dtype"] == "int64" else "number"
                raise BadCell(
                    f"{json.dumps(str(cell)[:40])} in row {row}, column {json.dumps(name)} is no {kind}"
                )
            encoded[row, 0] = cell if column["dtype"] == "int64" and isinstance(cell, int) else number
        return encoded


def _is_gap(cell: Any) -> bool:
    return cell is None or cell != cell or str(cell) == "<NA>"


def _as_text(cell: Any) -> str:
    return cell.decode("utf-8") if isinstance(cell, bytes) else str(cell)


ENCODERS: dict[str, Any] = {
    encoder.kind: encoder
    for encoder in (PixelEncoder, TextEncoder, TableEncoder, TokenEncoder, ColumnsEncoder)
}


def encoder_from_state(state: State | None) -> Any:
    """Return the encoder of a saved state; None if the model takes raw input."""
    if not state:
        return None
    return ENCODERS[state["kind"]](**{name: value for name, value in state.items() if name != "kind"})


class TravellingCode:
    """The user's code that a model was saved with: its custom objects by Keras's names, and its encoder."""

    def __init__(self, content: bytes) -> None:
        """`content` is that of code.pkl. Raises RuntimeError if another Python version wrote it."""
        saved = pickle.loads(content)  # noqa: S301 - a model's code is trusted as its scoring.py is
        wanted, running = tuple(saved["python"]), sys.version_info[:2]
        if wanted != running:
            raise RuntimeError(
                f"the model's own code needs Python {wanted[0]}.{wanted[1]}, this is {running[0]}.{running[1]}"
            )
        self._objects: bytes | None = saved["objects"]
        self._encoder: bytes | None = saved["encoder"]
        self._loaded: State | None = None
        for root, sources in saved["sources"].items():
            if root not in sys.modules:
                sys.meta_path.append(_SourceFinder(root, sources))

    def objects(self) -> State:
        """Return the custom objects by name; imports what they import, such as Keras."""
        if self._loaded is None:
            self._loaded = _unpickle(self._objects) if self._objects else {}
        return self._loaded

    def encoder(self) -> Any:
        """Return the user's encoder, or None."""
        return _unpickle(self._encoder) if self._encoder else None

    def register(self) -> None:
        """Let every later `keras.saving.load_model` in this process find the objects, as soon as Keras is imported.

        What the process itself registered under the same name stays.
        """
        if not self._objects:
            return
        if "keras" in sys.modules:
            _register_with_keras(self.objects())
        else:
            sys.meta_path.insert(0, _KerasImport(lambda: _register_with_keras(self.objects())))


class _CodeUnpickler(pickle.Unpickler):
    """Takes the encoders of this file from this file, under whatever name it was loaded."""

    def find_class(self, module: str, name: str) -> Any:
        if module != "mlctl.serving.scoring":
            return super().find_class(module, name)
        found: Any = globals()[name.partition(".")[0]]
        for part in name.split(".")[1:]:
            found = getattr(found, part)
        return found


def this_module() -> Any:
    """Return this file as a module; travelling code that refers to it gets the model's own copy."""
    return sys.modules[__name__]


def _unpickle(content: bytes) -> Any:
    return _CodeUnpickler(io.BytesIO(content)).load()


class _SourceFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports modules that travelled as source text, for code that imports them when it runs."""

    def __init__(self, root: str, sources: Mapping[str, str]) -> None:
        self._root = root
        self._sources = sources

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname.partition(".")[0] != self._root:
            return None
        file = fullname[len(self._root) + 1 :].replace(".", "/")
        if f"{file}.py" in self._sources:
            return importlib.util.spec_from_loader(fullname, self, origin=f"{file}.py", is_package=False)
        if f"{file}/__init__.py" in self._sources:
            return importlib.util.spec_from_loader(
                fullname, self, origin=f"{file}/__init__.py", is_package=True
            )
        if not file or any(source.startswith(f"{file}/") for source in self._sources):
            return importlib.util.spec_from_loader(fullname, self, is_package=True)
        return None

    def exec_module(self, module: Any) -> None:
        origin = module.__spec__.origin
        if origin:
            setattr(module, ABSENT, _Absent)
            exec(compile(self._sources[origin], origin, "exec"), vars(module))  # noqa: S102 - see TravellingCode


class _AbsentType(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class _Absent(metaclass=_AbsentType):
    """Stands for anything that a travelling module imports from mlctl, if mlctl is not installed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


def absent() -> type:
    """Return the class that stands for mlctl's own ones."""
    return _Absent


class _KerasImport(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Calls a function once, after Keras was imported."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then
        self._loader: Any = None

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._then()


@contextlib.contextmanager
def keras_scope(objects: Mapping[str, Any]) -> Iterator[None]:
    """Let Keras find these custom objects, and none of another model with the same names, within the block."""
    import keras

    with _keras_lock, keras.saving.custom_object_scope(dict(objects)):
        registered = keras.saving.get_custom_objects()  # Keras prefers these to the scope's in nested objects
        others = {name: registered.get(name) for name in objects}
        registered.update(objects)
        try:
            yield
        finally:
            for name, other in others.items():
                if other is None:
                    registered.pop(name, None)
                else:
                    registered[name] = other


def _register_with_keras(objects: Mapping[str, Any]) -> None:
    """Register objects for every later load; they replace those of other saved models, and nothing else."""
    import keras

    registered = keras.saving.get_custom_objects()
    for name, value in objects.items():
        if name not in registered or getattr(registered[name], "__mlctl_saved_model__", False):
            package, separator, own_name = name.rpartition(">")
            if separator:  # a model that is saved again refers to it by the same name
                keras.saving.register_keras_serializable(package, own_name)(value)
            registered[name] = value
            with contextlib.suppress(AttributeError, TypeError):
                value.__mlctl_saved_model__ = True


class Scorer:
    """A saved model with its encoder. Called with raw input, it answers as the Keras model does."""

    def __init__(self, folder: str) -> None:
        """Load a folder with encoder.json and model.onnx, or model.keras if there is no model.onnx."""
        with open(os.path.join(folder, "encoder.json"), encoding="utf-8") as file:
            saved = json.load(file)
        code = None
        self._least_rows = 1
        if os.path.exists(path := os.path.join(folder, "code.pkl")):
            with open(path, "rb") as content:
                code = TravellingCode(content.read())
        is_own = (saved["encoder"] or {}).get("kind") == OWN_ENCODER
        self.encoder = code.encoder() if code and is_own else encoder_from_state(saved["encoder"])
        self._inputs: list[State] = saved.get("inputs") or [{"name": "", "dtype": saved["input_dtype"]}]
        self._structure: Any = saved.get("structure", "")
        self._raw_names: list[str] = saved.get("raw_names") or []
        outputs = saved.get("outputs") or [{"name": "", "activation": ""}]
        onnx = os.path.join(folder, "model.onnx")
        if os.path.exists(onnx):
            self._run = onnx_runner(onnx, [output["name"] for output in outputs])
        else:
            objects = code.objects() if code else {}
            path = os.path.join(folder, "model.keras")
            self._run = keras_runner(path, structure=self._structure, outputs=outputs, objects=objects)
            if fixed := saved.get("fixed_rows"):
                self._run = fixed_rows_runner(self._run, fixed)
                self._least_rows = fixed
        self._row_bytes: int = saved.get("row_bytes") or 0
        if code:
            code.register()

    def __call__(self, raw: Any) -> Any:
        """Return the predictions for n raw inputs as a float array (n, …), or a dict of them by output name.

        Raw inputs are an array, a list, a DataFrame, or a dict of arrays by input name.
        """
        count, size = _size(raw)
        if self._row_bytes:
            bounded = _LAYER_BYTES // max(self._row_bytes, size // max(count, 1))
        else:
            bounded = _BATCH_BYTES * count // max(size, 1)
        rows = max(self._least_rows, min(_BATCH_ROWS, bounded))
        if count <= rows:
            return self._predict(raw)
        batches = [self._predict(_rows(raw, start, start + rows)) for start in range(0, count, rows)]
        if isinstance(batches[0], Mapping):
            return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        return np.concatenate(batches)

    def _predict(self, raw: Any) -> Any:
        if self._raw_names and isinstance(raw, Mapping):  # the encoder takes a tuple, as in training
            raw = tuple(raw[name] for name in self._raw_names)
        encoded = self.encoder(raw) if self.encoder else raw
        named = self._named(encoded)
        arrays = {given["name"]: as_input(named[given["name"]], given) for given in self._inputs}
        return self._run(arrays[self._structure] if isinstance(self._structure, str) else arrays)

    def _named(self, encoded: Any) -> Mapping[str, Any]:
        """Return the model's inputs by name, from what the encoder returned or a client sent."""
        if isinstance(self._structure, str):
            is_single = isinstance(encoded, Mapping) and len(encoded) == 1
            return {self._structure: next(iter(encoded.values())) if is_single else encoded}
        if hasattr(encoded, "keys") and all(given["name"] in encoded for given in self._inputs):
            return {given["name"]: encoded[given["name"]] for given in self._inputs}
        return dict(_flatten(self._structure, encoded))


def _flatten(structure: Any, values: Any) -> Iterator[tuple[str, Any]]:
    """Yield each leaf of a tree of arrays with its name in the structure."""
    if isinstance(structure, Mapping):
        for name, part in structure.items():
            yield from _flatten(part, values[name])
    elif isinstance(structure, str):
        yield structure, values
    else:
        for part, value in zip(structure, values, strict=True):
            yield from _flatten(part, value)


def _build(structure: Any, named: Mapping[str, Any]) -> Any:
    """Return the tree of this structure with the named leaves."""
    if isinstance(structure, Mapping):
        return {name: _build(part, named) for name, part in structure.items()}
    if isinstance(structure, str):
        return named[structure]
    return tuple(_build(part, named) for part in structure)


def _size(raw: Any) -> tuple[int, int]:
    """Return the number of rows of raw input, and about how many bytes they take."""
    parts = list(raw.values()) if isinstance(raw, Mapping) else [raw]
    return len(parts[0]), sum(int(getattr(part, "nbytes", 0)) for part in parts)


def _rows(raw: Any, start: int, stop: int) -> Any:
    if isinstance(raw, Mapping):
        return {name: part[start:stop] for name, part in raw.items()}
    return raw[start:stop]


def as_input(values: Any, given: State) -> Array:
    """Return values as the array that a model's input takes: of its dtype and its number of axes."""
    if given["dtype"] == TEXT:
        array = np.asarray(values, dtype=object)
        array = np.array([_text(cell) for cell in array.flat], dtype=object).reshape(array.shape)
    else:
        array = np.ascontiguousarray(_stacked(values), dtype=given["dtype"])
    if given.get("rank") == array.ndim + 1:
        array = array[..., np.newaxis]
    return array


def _stacked(values: Any) -> Any:
    """Return rows that are arrays of the same shape as one array."""
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    is_rows = array.dtype == object and array.size and isinstance(array.flat[0], (np.ndarray, list, tuple))
    return np.stack([np.asarray(row) for row in array]) if is_rows else array


def _text(cell: Any) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8")
    return "" if cell is None or cell != cell else str(cell)


def onnx_runner(path: str, output_names: Sequence[str] = ("",)) -> Callable[[Any], Any]:
    """Return a function that answers encoded input with ONNX Runtime.

    It takes an array, or a dict of arrays by input name, and returns an array, or a dict of arrays by these output
    names, which are in the order of the graph's outputs.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a server answers many requests at once, so one thread each is fastest
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    input_names = [given.name for given in session.get_inputs()]
    graph_names = [output.name for output in session.get_outputs()]
    if len(graph_names) == 1:
        name = input_names[0]
        return lambda encoded: np.asarray(
            session.run(None, encoded if isinstance(encoded, Mapping) else {name: encoded})[0]
        )
    names = graph_names if set(output_names) == set(graph_names) else output_names

    def run(encoded: Any) -> dict[str, Array]:
        feed = encoded if isinstance(encoded, Mapping) else {input_names[0]: encoded}
        answers = dict(zip(names, map(np.asarray, session.run(None, feed)), strict=True))
        return {name: answers[name] for name in output_names} if len(output_names) > 1 else answers

    return run


def keras_runner(
    path: str, *, structure: Any, outputs: Sequence[State], objects: Mapping[str, Any]
) -> Callable[[Any], Any]:
    """Return a function that answers encoded input with a saved Keras model, as `call_keras` does."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    with keras_scope(objects):
        model = keras.saving.load_model(path, compile=False)
    return lambda encoded: call_keras(model, encoded, structure=structure, outputs=outputs)


def fixed_rows_runner(run: Callable[[Any], Any], rows: int) -> Callable[[Any], Any]:
    """Return a function that answers any number of rows with a model that takes batches of this many rows only.

    Missing rows of a batch are the last one again; the answers to them are left out.
    """

    def run_batch(encoded: Any, start: int) -> Any:
        def take(part: Array) -> Array:
            return part[np.minimum(np.arange(start, start + rows), len(part) - 1)]

        if isinstance(encoded, Mapping):
            return run({name: take(part) for name, part in encoded.items()})
        return run(take(encoded))

    def run_all(encoded: Any) -> Any:
        count = _size(encoded)[0]
        batches = [run_batch(encoded, start) for start in range(0, count, rows)]
        if isinstance(batches[0], Mapping):
            return {name: np.concatenate([batch[name] for batch in batches])[:count] for name in batches[0]}
        return np.concatenate(batches)[:count]

    return run_all


def call_keras(model: Any, encoded: Any, *, structure: Any, outputs: Sequence[State]) -> Any:
    """Return a Keras model's answers: an array, or a dict of arrays by output name; probabilities, not logits.

    Args:
        model: The model.
        encoded: An array, or a dict of arrays by input name.
        structure: What the model takes: the name of its input, or a dict or list of them.
        outputs: Name and activation of each output, in the model's order.
    """
    if isinstance(structure, str):
        given = _tensor(encoded) if encoded.dtype.kind == "O" else encoded
    else:
        # Keras takes tensors or arrays, and no mixture
        has_texts = any(part.dtype.kind == "O" for part in encoded.values())
        given = _build(
            structure, {name: _tensor(part) if has_texts else part for name, part in encoded.items()}
        )
    answers = model(given, training=False)
    if isinstance(answers, Mapping):
        is_named = all(output["name"] in answers for output in outputs)
        parts = [answers[output["name"]] for output in outputs] if is_named else list(answers.values())
    else:
        parts = list(answers) if isinstance(answers, (list, tuple)) else [answers]
    arrays = [
        _activated(np.asarray(part, dtype=np.float32), output["activation"])
        for part, output in zip(parts, outputs, strict=True)
    ]
    if len(outputs) == 1:
        return arrays[0]
    return {output["name"]: array for output, array in zip(outputs, arrays, strict=True)}


def _tensor(array: Any) -> Any:
    import tensorflow

    return tensorflow.constant(array, dtype="string" if array.dtype.kind == "O" else array.dtype)


def _activated(logits: Array, activation: str) -> Array:
    """Return probabilities for logits, as Keras's activation of this name does."""
    if activation == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
    if activation == "softmax":
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
    return logits


def _mlflow_model() -> Any:
    """Return this file's Scorer in the form in which MLflow loads models from code."""
    from mlflow.pyfunc import PythonModel

    class Model(PythonModel):  # type: ignore[misc]  # MLflow ships no types
        def load_context(self, context: Any) -> None:
            self.scorer = Scorer(context.artifacts["model"])
            gc.collect()
            gc.freeze()  # the model stays: scanning it in every collection halves a server's throughput

        # without type hints, because MLflow would infer a signature from them, and warn of all but lists
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return self.scorer(model_input)

    return Model()


if __name__ != "mlctl.serving.scoring":  # MLflow runs this file in a model's folder
    from mlflow.models import set_model

    set_model(_mlflow_model())
