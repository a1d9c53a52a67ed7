"""Epochs that are trained in pieces equal `Model.fit`, for every optimizer, form of data and size of piece."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers

from mlctl.adapters.keras import predictors, programs, sparse_bag_program, tensors
from mlctl.data.dataset import Split
from mlctl.data.sparse_bags import SparseBags
from mlctl.domain.outputs import Output

ROWS, BATCH_SIZE, WIDTH, EPOCHS = 100, 16, 40, 2  # the last batch has 4 rows


def bags() -> SparseBags:
    rng = np.random.default_rng(1)
    rows = [sorted(rng.choice(WIDTH, size=rng.integers(1, 9), replace=False).tolist()) for _ in range(ROWS)]
    return SparseBags.from_lists(rows, WIDTH)


def targets() -> np.ndarray:
    return (np.random.default_rng(2).random((ROWS, 1)) > 0.5).astype(np.float32)


OPTIMIZERS = {
    "adam": lambda: optimizers.Adam(0.01),
    "adam, cosine": lambda: optimizers.Adam(optimizers.schedules.CosineDecay(0.01, 14)),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "sgd, momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "clipped, decayed": lambda: optimizers.Adam(0.01, clipnorm=0.1, weight_decay=0.01),
}


def build_model(optimizer: str) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((WIDTH,)), layers.Dense(8, activation="relu"), layers.Dense(1, activation="sigmoid")]
    )
    model.compile(OPTIMIZERS[optimizer](), loss="binary_crossentropy", metrics=["accuracy"])
    return model


def order(epoch: int) -> np.ndarray:
    return np.random.default_rng([4, epoch]).permutation(ROWS)


@functools.cache
def train_by_fit(optimizer: str) -> tuple[keras.Model, dict[str, float]]:
    """Return the model that `Model.fit` trains, and its metrics of the last epoch."""
    model, x, y = build_model(optimizer), bags().dense(), targets()
    metrics = {}
    for epoch in range(EPOCHS):
        rows = order(epoch)
        fitted = model.fit(x[rows], y[rows], batch_size=BATCH_SIZE, shuffle=False, verbose=0)
        metrics = {name: values[-1] for name, values in fitted.history.items()}
    return model, metrics


@pytest.mark.parametrize(
    ("optimizer", "form", "piece"),
    [
        ("adam", "dense", 1),
        ("adam", "dense", 7),
        ("adam", "bags", 2),
        ("adam", "bags", 7),
        ("adam, cosine", "dense", 3),
        ("adam, cosine", "bags", 3),
        ("rmsprop", "dense", 3),
        ("rmsprop", "bags", 3),
        ("sgd, momentum", "dense", 3),
        ("amsgrad", "dense", 3),
        ("clipped, decayed", "bags", 3),
    ],
)
def test_pieces_of_an_epoch_equal_fit(optimizer: str, form: str, piece: int) -> None:
    reference, expected_metrics = train_by_fit(optimizer)
    model = build_model(optimizer)
    inputs = bags() if form == "bags" else bags().dense()
    program = programs.make_program(model, Split(inputs, targets()), BATCH_SIZE)
    assert isinstance(program, programs.SparseBagProgram if form == "bags" else programs.DenseProgram)
    for epoch in range(EPOCHS):
        program.begin_epoch(order(epoch))
        model.reset_metrics()
        for start in range(0, program.steps, piece):
            program.train(start, min(start + piece, program.steps))
    for expected, weights in zip(reference.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(weights, expected, atol=2e-6)
    metrics = program.metrics()
    assert metrics["loss"] == pytest.approx(expected_metrics["loss"], abs=1e-6)
    assert metrics["accuracy"] == pytest.approx(expected_metrics["accuracy"], abs=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "sgd, momentum"])
def test_an_epoch_on_bags_with_values_equals_fit(optimizer: str) -> None:
    plain = bags()
    values = np.random.default_rng(3).random(len(plain.ids)).astype(np.float32)
    weighted = SparseBags(plain.ids, plain.starts, WIDTH, values)
    reference, model = build_model(optimizer), build_model(optimizer)
    reference.fit(weighted.dense(), targets(), BATCH_SIZE, epochs=EPOCHS, shuffle=False, verbose=0)
    program = programs.make_program(model, Split(weighted, targets()), BATCH_SIZE)
    assert isinstance(program, programs.SparseBagProgram)
    for _ in range(EPOCHS):
        program.begin_epoch(np.arange(ROWS))
        program.train(0, program.steps)
    for expected, weights in zip(reference.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(weights, expected, atol=2e-6)
    answers = programs.make_predictor(model).predict(weighted)
    np.testing.assert_allclose(answers, model.predict(weighted.dense(), verbose=0), atol=1e-6)


def test_empty_bags_at_the_end_are_predicted() -> None:
    empty = SparseBags(np.array([3], np.uint16), np.array([0, 1, 1, 1]), WIDTH)
    assert programs.make_predictor(build_model("adam")).predict(empty).shape == (3, 1)


def test_fused_kernel_leaves_the_same_optimizer_state_as_keras() -> None:
    """A saved optimizer has the same meaning: iterations and both moments are Keras's."""
    reference, _ = train_by_fit("adam")
    model = build_model("adam")
    program = programs.make_program(model, Split(bags().dense(), targets()), BATCH_SIZE)
    for epoch in range(EPOCHS):
        program.begin_epoch(order(epoch))
        program.train(0, program.steps)
    for expected, variable in zip(reference.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), atol=2e-6, err_msg=expected.path)


def test_gradient_of_bags_is_that_of_the_dense_product() -> None:
    rows, upstream = bags(), tf.random.stateless_normal((ROWS, 8), seed=(1, 2))
    kernel = tf.random.stateless_normal((WIDTH, 8), seed=(3, 4))
    ids, row_numbers, *by_word = sparse_bag_program._transpose_batches(rows, np.array([0, ROWS]), ROWS)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        product = sparse_bag_program._multi_hot_product(kernel, ids, row_numbers, ROWS, tuple(by_word))
    dense = rows.dense()
    np.testing.assert_allclose(product, dense @ kernel.numpy(), atol=1e-5)
    gradient = tape.gradient(product, kernel, output_gradients=upstream)
    np.testing.assert_allclose(gradient, dense.T @ upstream.numpy(), atol=1e-5)


@pytest.mark.parametrize("form", ["dense", "bags"])
def test_predictions_and_loss_are_the_models_own(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, y = build_model("adam"), targets()
    inputs = bags() if form == "bags" else bags().dense()
    programs.make_program(model, Split(inputs, y), BATCH_SIZE)
    monkeypatch.setattr(predictors, "MAX_ROWS", 30)
    evaluation = programs.make_predictor(model).evaluate(Split(inputs, y))
    np.testing.assert_allclose(evaluation.predictions, model.predict(bags().dense(), verbose=0), atol=1e-6)
    expected = model.evaluate(bags().dense(), y, verbose=0, return_dict=True)
    assert dict(evaluation.metrics) == pytest.approx(expected, abs=1e-6)
    again = programs.make_predictor(model).predict(inputs)
    np.testing.assert_allclose(again, evaluation.predictions, atol=1e-6)


def test_model_without_a_dense_first_layer_takes_bags_as_a_dense_matrix() -> None:
    model = keras.Sequential(
        [keras.Input((WIDTH,)), layers.Dropout(0.1), layers.Dense(1, activation="sigmoid")]
    )
    model.compile("adam", loss="binary_crossentropy")
    assert isinstance(
        programs.make_program(model, Split(bags(), targets()), BATCH_SIZE), programs.DenseProgram
    )


@pytest.mark.parametrize(
    ("loss", "shape"),
    [("sparse_categorical_crossentropy", (3,)), ("mean_squared_error", (3, 4)), ("kl_divergence", (3, 4))],
)
def test_targets_have_the_form_that_the_loss_takes(loss: str, shape: tuple[int, ...]) -> None:
    model = keras.Sequential([keras.Input((2,)), layers.Dense(4, activation="softmax")])
    model.compile("sgd", loss=loss)
    outputs = (Output(kind="classes", classes=tuple("abcd")),)
    assert programs.encode_targets(model, np.array([0, 3, 1]), outputs).shape == shape


def test_aligned_array_becomes_a_tensor_without_a_copy() -> None:
    unaligned = np.zeros(4 * 1000 + 4, np.uint8)[4:].view(np.float32).reshape(100, 10)
    unaligned[:] = np.arange(1000).reshape(100, 10)
    array = tensors.align(unaligned)
    assert tensors.align(array) is array
    np.testing.assert_array_equal(array, unaligned)
    tensor = tensors.to_tensor(array)
    np.testing.assert_array_equal(tf.gather(tensor, [3, 1]), unaligned[[3, 1]])
    array[3, 0] = -1.0
    assert float(tensor[3, 0]) == -1.0


@pytest.mark.parametrize(
    "dtype", ["float32", "float16", "float64", "int64", "uint8", ">f4", "bool", "S2", "object"]
)
def test_inputs_of_any_dtype_become_a_tensor(dtype: str) -> None:
    array = np.arange(12).astype("S2" if dtype == "object" else dtype).reshape(4, 3).astype(dtype)
    assert tensors.to_tensor(array).numpy().tolist() == array.tolist()
