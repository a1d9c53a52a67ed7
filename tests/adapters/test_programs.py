"""Epochs in pieces are the mathematics of `Model.fit`, whatever the optimizer, the data and the pieces."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers

from mlctl.adapters.keras import programs, tensors
from mlctl.data.sparse_bags import SparseBags

ROWS, BATCH, WIDTH, EPOCHS = 100, 16, 40, 2  # the last batch holds 4


def bags() -> SparseBags:
    rng = np.random.default_rng(1)
    rows = [sorted(rng.choice(WIDTH, size=rng.integers(1, 9), replace=False).tolist()) for _ in range(ROWS)]
    return SparseBags.from_lists(rows, WIDTH)


def targets() -> np.ndarray:
    return (np.random.default_rng(2).random((ROWS, 1)) > 0.5).astype(np.float32)


def cosine() -> optimizers.Optimizer:
    return optimizers.Adam(optimizers.schedules.CosineDecay(0.01, 14))


MADE = {
    "adam": lambda: optimizers.Adam(0.01),
    "adam, cosine": cosine,
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "sgd, momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "clipped, decayed": lambda: optimizers.Adam(0.01, clipnorm=0.1, weight_decay=0.01),
}


def model(make: str) -> keras.Model:
    keras.utils.set_random_seed(3)
    made = keras.Sequential(
        [keras.Input((WIDTH,)), layers.Dense(8, activation="relu"), layers.Dense(1, activation="sigmoid")]
    )
    made.compile(MADE[make](), loss="binary_crossentropy", metrics=["accuracy"])
    return made


def order(epoch: int) -> np.ndarray:
    return np.random.default_rng([4, epoch]).permutation(ROWS)


@functools.cache
def by_fit(make: str) -> tuple[keras.Model, dict[str, float]]:
    reference, x, y = model(make), bags().dense(), targets()
    history = {}
    for epoch in range(EPOCHS):
        rows = order(epoch)
        fitted = reference.fit(x[rows], y[rows], batch_size=BATCH, shuffle=False, verbose=0)
        history = {name: values[-1] for name, values in fitted.history.items()}
    return reference, history


@pytest.mark.parametrize(
    ("make", "form", "piece"),
    [
        ("adam", "dense", 1), ("adam", "dense", 7), ("adam", "bags", 2), ("adam", "bags", 7),
        ("adam, cosine", "dense", 3), ("adam, cosine", "bags", 3), ("rmsprop", "dense", 3), ("rmsprop", "bags", 3),
        ("sgd, momentum", "dense", 3), ("amsgrad", "dense", 3), ("clipped, decayed", "bags", 3),
    ],
)  # fmt: skip
def test_pieces_of_an_epoch_equal_fit(make: str, form: str, piece: int) -> None:
    reference, history = by_fit(make)
    trained = model(make)
    inputs = bags() if form == "bags" else bags().dense()
    program = programs.program_for(trained, inputs, targets(), BATCH)
    assert isinstance(program, programs.BagProgram if form == "bags" else programs.DenseProgram)
    for epoch in range(EPOCHS):
        program.begin_epoch(order(epoch))
        trained.reset_metrics()
        for start in range(0, program.steps, piece):
            program.train(start, min(start + piece, program.steps))
    for one, other in zip(reference.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    found = programs.results(trained)
    assert found["loss"] == pytest.approx(history["loss"], abs=1e-6)
    assert found["accuracy"] == pytest.approx(history["accuracy"], abs=1e-6)


def test_the_fused_kernel_leaves_keras_own_state() -> None:
    """What a saved optimizer holds means the same: iterations and both moments are Keras's."""
    reference, _ = by_fit("adam")
    trained = model("adam")
    program = programs.program_for(trained, bags().dense(), targets(), BATCH)
    for epoch in range(EPOCHS):
        program.begin_epoch(order(epoch))
        program.train(0, program.steps)
    for one, other in zip(reference.optimizer.variables, trained.optimizer.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=2e-6, err_msg=one.path)


def test_a_bags_gradient_is_the_dense_products() -> None:
    rows, upstream = bags(), tf.random.stateless_normal((ROWS, 8), seed=(1, 2))
    kernel = tf.random.stateless_normal((WIDTH, 8), seed=(3, 4))
    ids, owners, turned_ids, turned_rows = programs._turned(rows, np.array([0, ROWS]), ROWS)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        product = programs._bag_product(kernel, ids, owners, ROWS, (turned_ids, turned_rows))
    dense = rows.dense()
    np.testing.assert_allclose(product, dense @ kernel.numpy(), atol=1e-5)
    gradient = tape.gradient(product, kernel, output_gradients=upstream)
    np.testing.assert_allclose(gradient, dense.T @ upstream.numpy(), atol=1e-5)


@pytest.mark.parametrize("form", ["dense", "bags"])
def test_predictions_are_the_models_own(form: str) -> None:
    trained, y = model("adam"), targets()
    inputs = bags() if form == "bags" else bags().dense()
    programs.program_for(trained, inputs, y, BATCH)
    found, loss = programs.predict(programs.predictor_for(trained, inputs), inputs, y, rows_at_once=30)
    np.testing.assert_allclose(found, trained.predict(bags().dense(), verbose=0), atol=1e-6)
    assert loss == pytest.approx(trained.evaluate(bags().dense(), y, verbose=0)[0], abs=1e-6)


def test_a_model_that_begins_otherwise_takes_bags_as_a_dense_matrix() -> None:
    made = keras.Sequential(
        [keras.Input((WIDTH,)), layers.Dropout(0.1), layers.Dense(1, activation="sigmoid")]
    )
    made.compile("adam", loss="binary_crossentropy")
    assert isinstance(programs.program_for(made, bags(), targets(), BATCH), programs.DenseProgram)


@pytest.mark.parametrize(
    ("loss", "shape"),
    [("sparse_categorical_crossentropy", (3,)), ("mean_squared_error", (3, 4)), ("kl_divergence", (3, 4))],
)
def test_targets_come_as_the_loss_takes_them(loss: str, shape: tuple[int, ...]) -> None:
    made = keras.Sequential([keras.Input((2,)), layers.Dense(4, activation="softmax")])
    made.compile("sgd", loss=loss)
    assert programs.targets_for(made, np.array([0, 3, 1]), 4).shape == shape


def test_an_aligned_array_is_a_tensor_without_a_copy_of_it():
    room = np.zeros(4 * 1000 + 4, np.uint8)[4:].view(np.float32).reshape(100, 10)
    room[:] = np.arange(1000).reshape(100, 10)
    array = tensors.aligned(room)
    assert tensors.aligned(array) is array
    np.testing.assert_array_equal(array, room)
    tensor = tensors.resident(array)
    np.testing.assert_array_equal(tf.gather(tensor, [3, 1]), room[[3, 1]])
    array[3, 0] = -1.0
    assert float(tensor[3, 0]) == -1.0


@pytest.mark.parametrize(
    "kind", ["float32", "float16", "float64", "int64", "uint8", ">f4", "bool", "S2", "object"]
)
def test_inputs_of_any_kind_become_a_tensor(kind: str) -> None:
    array = np.arange(12).astype("S2" if kind == "object" else kind).reshape(4, 3).astype(kind)
    found = tensors.resident(array)
    assert found.numpy().tolist() == array.tolist()
