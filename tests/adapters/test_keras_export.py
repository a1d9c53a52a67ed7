"""Keras layers as ONNX graphs: ONNX Runtime answers as Keras does, or there is a reason."""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers

from mlctl.adapters.models.keras_export import MAX_CHECK_BYTES, checked_batch_sizes, export_keras
from mlctl.adapters.models.keras_trace import input_specs
from mlctl.domain.outputs import Output

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(16, 6)).astype(np.float32)
IMAGES = RNG.random((16, 12, 12, 3)).astype(np.float32)
STEPS = RNG.normal(size=(16, 8, 5)).astype(np.float32)
IDS = RNG.integers(1, 20, (16, 6)).astype(np.int32)
IDS[:, 4:] = 0  # padding
WORDS = RNG.choice(["red", "green", "blue", ""], (16, 3)).astype(object)
TEXTS = np.array(
    [
        [" ".join(RNG.choice(["Good,", "bad", "don't", "cold!", "Ü", "x\ty"], RNG.integers(0, 6)))]
        for _ in range(16)
    ],
    object,
)

Build = Callable[[Any], Any]


def model_of(layer: Build, rows: Any, dtype: str = "float32", shape: Any = None) -> keras.Model:
    """Return a model of one input for rows like these."""
    given = keras.Input(shape or rows.shape[1:], dtype="string" if rows.dtype == object else dtype)
    return keras.Model(given, layer(given))


def adapted(layer: Any, rows: Any) -> Any:
    layer.adapt(list(rows.ravel()) if rows.dtype == object else rows)
    return layer


def embedded(layer: Any) -> Build:
    return lambda ids: layer(layers.Embedding(20, 4, mask_zero=True)(ids))


def strip_html(texts: Any) -> Any:
    """Standardize texts as Keras's text classification example does."""
    plain = tf.strings.regex_replace(tf.strings.lower(texts), "<br />", " ")
    return tf.strings.regex_replace(plain, f"[{re.escape(string.punctuation)}]", "")


class Spectrum(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.math.real(tf.signal.fft2d(tf.cast(x, tf.complex64)))


class Noise(layers.Layer):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = keras.random.SeedGenerator(1)

    def call(self, x: Any) -> Any:
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed)


class Counter(layers.Layer):
    def build(self, shape: Any) -> None:
        self.calls = self.add_weight(name="calls", initializer="zeros", trainable=False)

    def call(self, x: Any) -> Any:
        self.calls.assign_add(1.0)
        return x


class Python(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.ensure_shape(tf.numpy_function(lambda values: values * 2, [x], tf.float32), (None, 6))


NUMBER_LAYERS: dict[str, Build] = {
    "normalization": lambda x: adapted(layers.Normalization(), NUMBERS)(x),
    "normalization inverted": lambda x: layers.Normalization(mean=[1.0] * 6, variance=[4.0] * 6, invert=True)(x),
    "gelu": lambda x: layers.Dense(4, "gelu")(x),
    "celu": lambda x: layers.Dense(4, "celu")(x),
    "mish": lambda x: layers.Dense(4, "mish")(x),
    "log1p": lambda x: keras.ops.log1p(keras.ops.abs(x)),
    "not a number": lambda x: keras.ops.log(x),
    "argmax": lambda x: keras.ops.argmax(x, axis=-1),
    "one_hot out of range": lambda x: keras.ops.one_hot(keras.ops.cast(x * 2, "int32"), 3),
    "discretization": lambda x: adapted(layers.Discretization(num_bins=4), NUMBERS)(x),
    "discretization one_hot": lambda x: layers.Discretization([-1.0, 0.0], output_mode="one_hot")(x),
    "unit normalization": lambda x: layers.UnitNormalization()(x),
    "spectral normalization": lambda x: layers.SpectralNormalization(layers.Dense(3))(x),
    "noise": lambda x: layers.ActivityRegularization(0.1)(layers.GaussianNoise(0.5)(layers.Dropout(0.5)(x))),
    "lambda": lambda x: layers.Lambda(tf.square)(x),
}  # fmt: skip
IMAGE_LAYERS: dict[str, Build] = {
    "random_flip": lambda x: layers.RandomFlip()(x),
    "random_rotation": lambda x: layers.RandomRotation(0.2)(x),
    "random_zoom": lambda x: layers.RandomZoom(0.2)(x),
    "random_crop": lambda x: layers.RandomCrop(8, 8)(x),
    "random_contrast": lambda x: layers.RandomContrast(0.2)(x),
    "mix_up": lambda x: layers.MixUp()(x),
    "aug_mix": lambda x: layers.AugMix((0, 1))(x),
    "rand_augment": lambda x: layers.RandAugment((0, 1))(x),
    "resizing nearest": lambda x: layers.Resizing(7, 9, interpolation="nearest")(x),
    "resizing bicubic": lambda x: layers.Resizing(7, 9, interpolation="bicubic")(x),
    "resizing lanczos3": lambda x: layers.Resizing(7, 9, interpolation="lanczos3")(x),
    "resizing area": lambda x: layers.Resizing(6, 6, interpolation="area")(x),
    "resizing antialias": lambda x: layers.Resizing(6, 6, antialias=True)(x),
    "center_crop": lambda x: layers.CenterCrop(8, 8)(x),
    "grouped convolution": lambda x: layers.Conv2D(6, 3, groups=3)(x),
    "transposed convolution": lambda x: layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x),
    "group normalization": lambda x: layers.GroupNormalization(3)(x),
    "nested augmentation": lambda x: keras.Sequential([layers.RandomFlip(), layers.Conv2D(2, 3)])(x),
}
STEP_LAYERS: dict[str, Build] = {
    "lstm": lambda x: layers.LSTM(4)(x),
    "attention": lambda x: layers.MultiHeadAttention(2, 4)(x, x),
    "grouped attention": lambda x: layers.GroupQueryAttention(4, 4, 2)(x, x),
    "causal convolution": lambda x: layers.Conv1D(4, 3, padding="causal")(x),
    "time_distributed": lambda x: layers.TimeDistributed(layers.Dense(3))(x),
}
ID_LAYERS: dict[str, Build] = {
    "masked lstm": embedded(layers.LSTM(4)),
    "masked bidirectional": embedded(layers.Bidirectional(layers.GRU(4))),
    "masked average": embedded(layers.GlobalAveragePooling1D()),
    "integer_lookup": lambda x: layers.IntegerLookup(vocabulary=list(range(1, 15)))(x),
    "integer_lookup of several unknown": lambda x: layers.IntegerLookup(
        vocabulary=[1, 2, 3], mask_token=0, num_oov_indices=3, output_mode="count"
    )(x),
    "category_encoding multi_hot": lambda x: layers.CategoryEncoding(20, output_mode="multi_hot")(x),
    "category_encoding count": lambda x: layers.CategoryEncoding(20, output_mode="count")(x),
    "category_encoding one_hot": lambda x: layers.CategoryEncoding(20, output_mode="one_hot")(x),
    "inverted string_lookup": lambda x: layers.StringLookup(vocabulary=["red"], invert=True)(x),
}
WORD_LAYERS: dict[str, Build] = {
    mode: lambda x, mode=mode: layers.StringLookup(vocabulary=["red", "green"], output_mode=mode)(x)
    for mode in ("int", "one_hot", "multi_hot", "count")
} | {
    "mask": lambda x: layers.StringLookup(vocabulary=["red"], mask_token="")(x),
    "mask multi_hot": lambda x: layers.StringLookup(
        vocabulary=["red"], mask_token="", output_mode="multi_hot"
    )(x),
    "tf_idf": lambda x: adapted(layers.StringLookup(output_mode="tf_idf"), WORDS)(x),
}
TEXT_OPTIONS: dict[str, dict[str, Any]] = {
    "open length": {},
    "fixed length": {"output_sequence_length": 4},
    "longer than any text": {"max_tokens": 4, "output_sequence_length": 20},
    "multi_hot": {"output_mode": "multi_hot"},
    "count": {"output_mode": "count", "standardize": None},
    "tf_idf": {"output_mode": "tf_idf", "max_tokens": 30, "pad_to_max_tokens": True},
    "characters": {"split": "character", "output_sequence_length": 9},
    "no split": {"split": None},
    "n-grams": {"ngrams": (1, 3)},
    "n-grams multi_hot": {"ngrams": 2, "output_mode": "multi_hot"},
    "own standardize": {"standardize": strip_html, "output_sequence_length": 8},
}
CASES = [
    *((f"numbers: {name}", layer, NUMBERS, "float32") for name, layer in NUMBER_LAYERS.items()),
    *((f"images: {name}", layer, IMAGES, "float32") for name, layer in IMAGE_LAYERS.items()),
    *((f"steps: {name}", layer, STEPS, "float32") for name, layer in STEP_LAYERS.items()),
    *((f"ids: {name}", layer, IDS, "int32") for name, layer in ID_LAYERS.items()),
    *((f"words: {name}", layer, WORDS, "string") for name, layer in WORD_LAYERS.items()),
]


@pytest.mark.parametrize(
    ("layer", "rows", "dtype"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_onnx_runtime_answers_as_keras(tmp_path: Path, layer: Build, rows: Any, dtype: str) -> None:
    assert export_keras(model_of(layer, rows, dtype), rows, tmp_path / "model.onnx") == ""


@pytest.mark.parametrize("options", TEXT_OPTIONS.values(), ids=TEXT_OPTIONS)
def test_text_vectorization_answers_as_keras(tmp_path: Path, options: dict[str, Any]) -> None:
    texts = TEXTS.copy()
    texts[:3] += "<br />end"
    model = model_of(lambda x: adapted(layers.TextVectorization(**options), texts)(x), texts)
    assert export_keras(model, texts, tmp_path / "model.onnx") == ""


@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8", "int8", "int64", "bool"])
def test_input_of_another_dtype_is_cast_to_the_models(tmp_path: Path, dtype: str) -> None:
    rows = (NUMBERS * 50).astype(dtype)
    model = model_of(lambda x: layers.Dense(3)(layers.Rescaling(1 / 255)(x)), NUMBERS)
    assert export_keras(model, rows, tmp_path / "model.onnx") == ""
    assert input_specs(model, rows)[0].dtype == "float32"


@pytest.mark.parametrize(
    ("layer", "rows", "reason"),
    [
        (lambda x: Spectrum(name="spectrum")(x), STEPS, "ONNX has no operator for FFT2D (layer spectrum)"),
        (lambda x: layers.Hashing(5, name="bins")(x), WORDS, "ONNX has no operator for hashes (layer bins)"),
        (
            lambda x: layers.StringLookup(vocabulary=["red"], num_oov_indices=3, name="colours")(x),
            WORDS,
            "ONNX has no operator for hashes (layer colours)",
        ),
        (lambda x: Noise(name="noise")(x), NUMBERS, "the model draws random numbers at inference (layer noise)"),
        (lambda x: Counter(name="counter")(x), NUMBERS, "the model changes its variables at inference (layer counter)"),
        (
            lambda x: Python(name="python")(x),
            NUMBERS,
            "ONNX has no operator for Python code inside the model (layer python)",
        ),
    ],
    ids=["fft", "hashing", "hashed unknown words", "random", "state", "python"],
)  # fmt: skip
def test_reason_names_what_onnx_lacks_and_the_layer(
    tmp_path: Path, layer: Build, rows: Any, reason: str
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"of an earlier export")
    assert export_keras(model_of(layer, rows), rows, path) == reason
    assert not path.exists()


def test_unknown_word_without_a_place_fails_as_in_keras(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    known = WORDS[WORDS[:, 0] == "red"]
    known[:] = "red"
    model = model_of(lambda x: layers.StringLookup(vocabulary=["red"], num_oov_indices=0)(x), known)
    assert export_keras(model, known, path) == ""
    session = onnxruntime.InferenceSession(str(path))
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument, match="out of"):
        session.run(None, {session.get_inputs()[0].name: np.array([["red", "pink", "red"]], object)})


def test_names_and_activations_of_several_outputs(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    title = keras.Input((None,), name="title", dtype="int32")
    tags = keras.Input((6,), name="tags")
    merged = layers.Concatenate()([layers.LSTM(3)(layers.Embedding(20, 4)(title)), tags])
    heads = [layers.Dense(1, name="priority")(merged), layers.Dense(4, name="department")(merged)]
    model = keras.Model([title, tags], heads)
    outputs = (
        Output(kind="classes", name="priority", activation="sigmoid"),
        Output(kind="classes", name="department", activation="softmax"),
    )
    rows = {"title": IDS, "tags": NUMBERS}
    assert export_keras(model, rows, path, outputs) == ""
    session = onnxruntime.InferenceSession(str(path))
    assert [given.name for given in session.get_inputs()] == ["title", "tags"]
    assert [answer.name for answer in session.get_outputs()] == ["priority", "department"]
    priority, department = session.run(None, {"title": IDS[:, :2], "tags": NUMBERS})  # any length
    expected = model({"title": IDS[:, :2], "tags": NUMBERS})
    assert np.abs(priority - keras.ops.sigmoid(expected[0])).max() < 1e-5
    assert np.abs(department.sum(axis=1) - 1).max() < 1e-5
    assert export_keras(model, (IDS, NUMBERS), path, outputs) == ""  # the inputs by place


def test_subclassed_model_of_dicts(tmp_path: Path) -> None:
    class Both(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.augment = keras.Sequential([layers.RandomFlip(), layers.RandomContrast(0.2)])
            self.features = layers.Conv2D(2, 3)
            self.mix = layers.Dense(2)

        def call(self, inputs: Any, training: bool = False) -> Any:
            pixels = self.features(self.augment(inputs["picture"], training=training))
            return {"map": pixels, "sum": self.mix(layers.Flatten()(pixels)) + inputs["number"][:, :2]}

    path = tmp_path / "model.onnx"
    model = Both()
    flip = model.augment.layers[0]
    flip.generator.state.assign([3, 4])
    assert export_keras(model, {"picture": IMAGES, "number": NUMBERS}, path) == ""
    assert {answer.name for answer in onnx.load(path).graph.output} == {"map", "sum"}
    assert "Random" not in "".join(node.op_type for node in onnx.load(path).graph.node)
    # the export does not advance the model's seeds
    assert np.asarray(flip.generator.state).tolist() == [3, 4]


def test_fixed_batch_size_and_free_sizes_of_images(tmp_path: Path) -> None:
    fixed = keras.Sequential([keras.Input((6,), batch_size=8), layers.Dense(2)])
    assert export_keras(fixed, NUMBERS, tmp_path / "model.onnx") == ""
    free = model_of(lambda x: layers.Conv2D(2, 3, strides=2)(x), IMAGES, shape=(None, None, 3))
    assert export_keras(free, IMAGES, tmp_path / "model.onnx") == ""


def test_weights_of_an_einsum_are_written_once(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    rows = RNG.normal(size=(16, 5, 32)).astype(np.float32)
    model = model_of(lambda x: layers.EinsumDense("bki,kio->bko", (5, 32))(x), rows)
    assert export_keras(model, rows, path) == ""
    assert path.stat().st_size < 1.2 * 4 * model.count_params()


def test_model_of_another_answer_is_refused(tmp_path: Path) -> None:
    class Fickle(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + (0.0 if tf.executing_eagerly() else 1.0)

    path = tmp_path / "model.onnx"
    reason = export_keras(model_of(lambda x: Fickle()(x), NUMBERS), NUMBERS, path)
    assert reason == "the exported model's answers differ by 1 for 1 rows"
    assert not path.exists()


def test_subclassed_model_takes_ids_of_any_length(tmp_path: Path) -> None:
    class Words(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.table = layers.Embedding(20, 4)
            self.average = layers.GlobalAveragePooling1D()

        def call(self, ids: Any) -> Any:
            return self.average(self.table(ids))

    path = tmp_path / "model.onnx"
    model = Words()
    model(IDS)
    assert export_keras(model, IDS, path) == ""
    session = onnxruntime.InferenceSession(str(path))
    (answer,) = session.run(None, {session.get_inputs()[0].name: IDS[:, :2]})
    assert np.abs(answer - model(IDS[:, :2])).max() < 1e-5


def test_empty_texts(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = model_of(lambda x: adapted(layers.TextVectorization(output_sequence_length=4), TEXTS)(x), TEXTS)
    assert export_keras(model, TEXTS, path) == ""
    session = onnxruntime.InferenceSession(str(path))
    for text in ("", "...", " ", "bad"):
        rows = np.array([[text]], object)
        (answer,) = session.run(None, {session.get_inputs()[0].name: rows})
        assert answer.tolist() == np.asarray(model(tf.constant(rows))).tolist()


@pytest.mark.parametrize(
    ("row_bytes", "sizes"),
    [(1000, [1, 7, 64]), (MAX_CHECK_BYTES // 10, [1, 7, 10]), (MAX_CHECK_BYTES * 2, [1, 2, 2])],
)
def test_fewer_large_rows_are_checked_together(row_bytes: int, sizes: list[int]) -> None:
    assert checked_batch_sizes(row_bytes) == sizes
