"""Raw client input to answers: this one file travels with every model and needs no mlctl.

An encoder turns what a client sends (pixels in the data set's own range, a review's text, a table's rows with
their gaps) into the model's input; ONNX Runtime, or Keras where the model could not be exported, answers it.
The same encoders encode the training data, so that a served model sees what it was trained on.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
State = dict[str, Any]

# What Keras's Tokenizer strips; apostrophes stay. The IMDB word index was made so.
_SEPARATORS = str.maketrans(dict.fromkeys('!"#$%&()*+,-./:;<=>?@[\\]^_{|}~`\t\n', " "))
_YES, _NO = ("true", "yes", "y", "t", "on", "1"), ("false", "no", "n", "f", "off", "0")
_ROWS_AT_ONCE = 256  # bounds memory: a row of a 30,000-word vocabulary is 120 kB


class Pixels:
    """Pictures (n, height, width[, channels]) in the data set's own range to float32 in 0..1, with channels."""

    kind = "pixels"

    def __init__(self, shape: Sequence[int], high: float) -> None:
        """`shape` is one raw picture's, `high` a fully lit pixel's value (16 for digits, 255 for mnist)."""
        self.shape = tuple(shape)
        self.high = float(high)

    def state(self) -> State:
        """Return what `encoder_from` needs to make this encoder again."""
        return {"shape": list(self.shape), "high": self.high}

    def __call__(self, raw: Any) -> Array:
        """Encode (n, *shape) numbers to (n, height, width, channels); raises ValueError on another shape."""
        pictures = np.asarray(raw)
        if pictures.shape[1:] != self.shape:
            raise ValueError(f"pictures of shape {self.shape} are wanted, found {pictures.shape[1:]}")
        pictures = pictures.astype(np.float32) / np.float32(self.high)
        return pictures[..., np.newaxis] if len(self.shape) == 2 else pictures


def words_of(text: str) -> set[str]:
    """Return the words of a text as the IMDB index counts them; "" may be among them."""
    return set(text.lower().translate(_SEPARATORS).split(" "))


class Words:
    """Texts to multi-hot rows (n, vocabulary) float32: 1 where a word of the vocabulary occurs."""

    kind = "words"

    def __init__(self, vocabulary: Sequence[str], column: str = "text") -> None:
        """`vocabulary` lists the words, most frequent first; `column` names the text in a table."""
        self.vocabulary = list(vocabulary)
        self.column = column
        self._columns = {word: number for number, word in enumerate(self.vocabulary)}

    def state(self) -> State:
        """Return what `encoder_from` needs to make this encoder again."""
        return {"vocabulary": self.vocabulary, "column": self.column}

    def columns(self, text: str | bytes) -> list[int]:
        """Return the vocabulary's columns of the words in a text, each once; unknown words are dropped."""
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        if not isinstance(text, str):
            raise TypeError(f"a text is wanted, found {type(text).__name__}")
        return [column for word in words_of(text) if (column := self._columns.get(word)) is not None]

    def __call__(self, raw: Any) -> Array:
        """Encode n texts (a list, an array, or a table with the text column) to (n, vocabulary)."""
        texts = raw[self.column] if hasattr(raw, "columns") else np.asarray(raw, dtype=object).ravel()
        rows = np.zeros((len(texts), len(self.vocabulary)), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[self.columns(text)] = 1
        return rows


class Table:
    """Rows of a table, gaps and unseen categories included, to scaled features (n, width) float32.

    Each of `steps` makes one or more features: a number (its gap filled with the median), its logarithm, a
    ratio of two, how far it fills each of several bins, whether a value is missing, a category as one-hot
    columns, a yes or no, the words of a text, the parts of a date, the distance from a place, or a place as
    waves of several directions and frequencies, so that a network can tell regions apart. All are scaled to
    mean 0 and deviation 1.
    """

    kind = "table"

    def __init__(
        self, columns: State, steps: Sequence[State], mean: Sequence[float], scale: Sequence[float]
    ) -> None:
        """`columns` maps each raw column to {"kind", "fill"}; `mean` and `scale` are (width,)."""
        self.columns = columns
        self.steps = steps
        self.mean = np.asarray(mean, np.float64)
        self.scale = np.asarray(scale, np.float64)

    @classmethod
    def fitted(cls, rows: Any, steps: Sequence[Mapping[str, Any]]) -> Table:
        """Learn fills, categories and scales from training rows (a DataFrame), for these steps."""
        columns = {}
        for name in rows:
            numeric = rows[name].dtype.kind in "iuf"
            filled = rows[name].dropna().to_numpy() if numeric else ()
            fill = (float(np.median(filled)) if len(filled) else 0.0) if numeric else ""
            columns[name] = {"kind": "number" if numeric else "category", "fill": fill}
        known = [{**step, **_learned(step, rows)} for step in steps]
        encoder = cls(columns, known, [0.0], [1.0])
        features = encoder._features(rows)  # before scaling
        deviation = features.std(axis=0)
        encoder.mean = features.mean(axis=0)
        encoder.scale = np.where(deviation > 1e-12, deviation, 1.0)
        return encoder

    def state(self) -> State:
        """Return what `encoder_from` needs to make this encoder again."""
        return {
            "columns": self.columns,
            "steps": self.steps,
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
        }

    def __call__(self, raw: Any) -> Array:
        """Encode n rows (a DataFrame; an absent column counts as all gaps) to (n, width) float32."""
        scaled = (self._features(raw) - self.mean) / self.scale
        return np.clip(scaled, -10.0, 10.0).astype(np.float32)  # one absurd value must not drown the others

    def _features(self, rows: Any) -> Array:
        features: list[Array] = []
        for step in self.steps:
            features.extend(getattr(self, "_make_" + step["make"])(rows, step))
        return np.stack(features, axis=1) if features else np.zeros((len(rows), 0))

    def _number(self, rows: Any, name: str) -> Array:
        """Return a column as (n,) float64, NaN where there is a gap."""
        if name not in rows:
            return np.full(len(rows), np.nan)
        values = rows[name]
        if values.dtype.kind not in "iufb":  # None and pandas' NA among numbers
            values = values.astype("Float64")
        found: Array = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return found

    def _filled(self, rows: Any, name: str) -> Array:
        values = self._number(rows, name)
        return np.where(np.isnan(values), self.columns[name]["fill"], values)

    def _make_number(self, rows: Any, step: State) -> list[Array]:
        return [self._filled(rows, step["of"])]

    def _make_log(self, rows: Any, step: State) -> list[Array]:
        return [np.log1p(np.maximum(self._filled(rows, step["of"]), 0.0))]

    def _make_ratio(self, rows: Any, step: State) -> list[Array]:
        above, below = self._filled(rows, step["of"]), self._filled(rows, step["by"])
        return [np.log1p(np.maximum(above, 0.0) / np.maximum(below, 1e-9))]

    def _make_missing(self, rows: Any, step: State) -> list[Array]:
        return [np.isnan(self._number(rows, step["of"])).astype(np.float64)]

    def _make_category(self, rows: Any, step: State) -> list[Array]:
        absent = step["of"] not in rows
        found = np.full(len(rows), None) if absent else np.array(rows[step["of"]], dtype=object)
        return [(found == known).astype(np.float64) for known in step["known"]]

    def _make_bins(self, rows: Any, step: State) -> list[Array]:
        """Return how far a number fills each bin, 0..1: a line in pieces, and a network may bend it at each."""
        edges, values = np.asarray(step["edges"]), self._filled(rows, step["of"])
        return [np.clip((values - low) / (high - low), 0.0, 1.0) for low, high in itertools.pairwise(edges)]

    def _words(self, rows: Any, name: str) -> list[str]:
        """Return a column as lower-cased words, "" where there is a gap."""
        if name not in rows:
            return [""] * len(rows)
        return ["" if cell is None or cell != cell else str(cell).lower() for cell in rows[name]]

    def _make_boolean(self, rows: Any, step: State) -> list[Array]:
        """Return 1 for yes, -1 for no, 0 for a gap."""
        signs = {**dict.fromkeys(_YES, 1.0), **dict.fromkeys(_NO, -1.0)}
        return [np.array([signs.get(word, 0.0) for word in self._words(rows, step["of"])])]

    def _make_text(self, rows: Any, step: State) -> list[Array]:
        """Return whether each known word occurs in a text."""
        found = np.zeros((len(step["known"]), len(rows)))
        places = {word: place for place, word in enumerate(step["known"])}
        for row, text in enumerate(self._words(rows, step["of"])):
            for word in text.translate(_SEPARATORS).split():
                if word in places:
                    found[places[word], row] = 1.0
        return list(found)

    def _make_date(self, rows: Any, step: State) -> list[Array]:
        """Return a date's years since 2000, its season, weekday and hour as waves, and whether it is missing."""
        import pandas as pd  # comes with MLflow, and a request without dates does without

        cells = rows[step["of"]] if step["of"] in rows else np.full(len(rows), None)
        given = pd.Series(np.asarray(cells, dtype=object))
        moments = pd.to_datetime(given, format=step["format"], errors="coerce", utc=True)
        gap = moments.isna().to_numpy()
        moments = moments.fillna(pd.Timestamp("2000-01-01", tz="UTC")).dt
        days = (moments.normalize() - pd.Timestamp("2000-01-01", tz="UTC")).dt.days.to_numpy(np.float64)
        hours = moments.hour.to_numpy() + moments.minute.to_numpy() / 60
        turns = (days / 365.2425, days / 7, hours / 24)
        waves = [wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)]
        return [np.where(gap, 0.0, one) for one in (days / 365.2425, *waves)] + [gap.astype(np.float64)]

    def _make_distance(self, rows: Any, step: State) -> list[Array]:
        north, east = (self._filled(rows, name) for name in step["of"])
        return [np.log1p(10.0 * np.hypot(north - step["from"][0], east - step["from"][1]))]

    def _make_waves(self, rows: Any, step: State) -> list[Array]:
        """Return a place along several directions, and its sines and cosines at each frequency (1/degree)."""
        north, east = (self._filled(rows, name) for name in step["of"])
        waves: list[Array] = []
        for turn in np.arange(step["directions"]) * np.pi / step["directions"]:
            along = north * np.cos(turn) + east * np.sin(turn)
            waves.append(along)
            for frequency in step["frequencies"]:
                waves.extend([np.sin(2 * np.pi * frequency * along), np.cos(2 * np.pi * frequency * along)])
        return waves


def _learned(step: Mapping[str, Any], rows: Any) -> State:
    """Return what a step learns from training rows: categories, words (the most frequent `most`), bins' edges."""
    make, most = step["make"], step.get("most")
    if make == "category":
        counted = rows[step["of"]].value_counts()
        return {"known": sorted(counted.index[:most].tolist())}
    if make == "text":
        documents: dict[str, int] = {}
        for text in rows[step["of"]].dropna():
            for word in set(str(text).lower().translate(_SEPARATORS).split()):
                documents[word] = documents.get(word, 0) + 1
        often = sorted((-count, word) for word, count in documents.items() if 1 < count < len(rows))
        return {"known": [word for _, word in often[:most]]}
    if make == "bins":
        values = rows[step["of"]].dropna().to_numpy(np.float64)
        if not len(values):
            return {"edges": []}
        return {"edges": np.unique(np.quantile(values, np.linspace(0, 1, step["most"] + 1))).tolist()}
    return {}


ENCODERS: dict[str, Any] = {encoder.kind: encoder for encoder in (Pixels, Words, Table)}


def encoder_from(state: State | None) -> Any:
    """Make the encoder of a saved state; None where raw input is the model's input."""
    if not state:
        return None
    return ENCODERS[state["kind"]](**{name: value for name, value in state.items() if name != "kind"})


class Scorer:
    """A saved model with its encoder: call it with raw input, and it answers as the Keras model does."""

    def __init__(self, folder: str) -> None:
        """Load a folder with encoder.json and model.onnx, or model.keras where there is no ONNX."""
        with open(os.path.join(folder, "encoder.json"), encoding="utf-8") as file:
            saved = json.load(file)
        self.encoder = encoder_from(saved["encoder"])
        self.dtype = np.dtype(saved["input_dtype"])
        onnx = os.path.join(folder, "model.onnx")
        self._run = onnx_runner(onnx) if os.path.exists(onnx) else _keras(os.path.join(folder, "model.keras"))

    def __call__(self, raw: Any) -> Array:
        """Answer n raw inputs with a float array: (n, classes), or (n, 1)."""
        if len(raw) <= _ROWS_AT_ONCE:
            return self._answer(raw)
        pieces = [raw[start : start + _ROWS_AT_ONCE] for start in range(0, len(raw), _ROWS_AT_ONCE)]
        return np.concatenate([self._answer(piece) for piece in pieces])

    def _answer(self, raw: Any) -> Array:
        encoded = self.encoder(raw) if self.encoder else raw
        return self._run(np.ascontiguousarray(encoded, dtype=self.dtype))


def onnx_runner(path: str) -> Callable[[Array], Array]:
    """Return what answers encoded input with ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a server answers many at once: one thread each is fastest
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    return lambda encoded: np.asarray(session.run(None, {given: encoded})[0])


def _keras(path: str) -> Callable[[Array], Array]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    model = keras.saving.load_model(path, compile=False)
    return lambda encoded: np.asarray(model(encoded, training=False), dtype=np.float32)


def _mlflow_model() -> Any:
    """Return this file's Scorer as MLflow loads models from code."""
    from mlflow.pyfunc import PythonModel

    class Model(PythonModel):  # type: ignore[misc]  # MLflow ships no types
        def load_context(self, context: Any) -> None:
            self.scorer = Scorer(context.artifacts["model"])
            gc.collect()
            gc.freeze()  # what is loaded stays: walking it at every collection halves a server's rate

        # untyped: from a hint MLflow would infer a signature, and it warns of all but lists
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            return self.scorer(model_input)

    return Model()


if __name__ != "mlctl.serving.scoring":  # run by MLflow, out of a model's folder
    from mlflow.models import set_model

    set_model(_mlflow_model())
