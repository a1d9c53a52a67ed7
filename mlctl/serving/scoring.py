"""From raw client input to predictions. A copy of this file is saved with every model, so it does not import mlctl.

An encoder turns what a client sends (pixels in their original range, a text, a table's rows with missing values)
into the model's input. ONNX Runtime predicts, or Keras if the model cannot be exported. Training uses the same
encoders, so a served model receives what it was trained on.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
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


ENCODERS: dict[str, Any] = {encoder.kind: encoder for encoder in (PixelEncoder, TextEncoder, TableEncoder)}


def encoder_from_state(state: State | None) -> Any:
    """Return the encoder of a saved state; None if the model takes raw input."""
    if not state:
        return None
    return ENCODERS[state["kind"]](**{name: value for name, value in state.items() if name != "kind"})


class Scorer:
    """A saved model with its encoder. Called with raw input, it answers as the Keras model does."""

    def __init__(self, folder: str) -> None:
        """Load a folder with encoder.json and model.onnx, or model.keras if there is no model.onnx."""
        with open(os.path.join(folder, "encoder.json"), encoding="utf-8") as file:
            saved = json.load(file)
        self.encoder = encoder_from_state(saved["encoder"])
        self.dtype = np.dtype(saved["input_dtype"])
        onnx = os.path.join(folder, "model.onnx")
        self._run = (
            onnx_runner(onnx) if os.path.exists(onnx) else _keras_runner(os.path.join(folder, "model.keras"))
        )

    def __call__(self, raw: Any) -> Array:
        """Return the predictions for n raw inputs as a float array: (n, classes) or (n, 1)."""
        if len(raw) <= _BATCH_ROWS:
            return self._predict(raw)
        batches = [raw[start : start + _BATCH_ROWS] for start in range(0, len(raw), _BATCH_ROWS)]
        return np.concatenate([self._predict(batch) for batch in batches])

    def _predict(self, raw: Any) -> Array:
        encoded = self.encoder(raw) if self.encoder else raw
        return self._run(np.ascontiguousarray(encoded, dtype=self.dtype))


def onnx_runner(path: str) -> Callable[[Array], Array]:
    """Return a function that answers encoded input with ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a server answers many requests at once, so one thread each is fastest
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    input_name = session.get_inputs()[0].name
    return lambda encoded: np.asarray(session.run(None, {input_name: encoded})[0])


def _keras_runner(path: str) -> Callable[[Array], Array]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    model = keras.saving.load_model(path, compile=False)
    return lambda encoded: np.asarray(model(encoded, training=False), dtype=np.float32)


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
