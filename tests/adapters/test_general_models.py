"""Models of any kind train, validate and answer as `Model.fit`, `evaluate` and `predict` do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from mlctl.adapters.keras import predictors, programs
from mlctl.adapters.keras.outputs import infer_outputs, predictions_of
from mlctl.data.dataset import Dataset, Split
from mlctl.data.normalize import normalize_dataset
from mlctl.data.streams import Stream
from mlctl.domain.outputs import Output
from mlctl.errors import BadDataError
from tests.recording_listener import RecordingListener

ROWS, BATCH = 40, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 5)).astype(np.float32)
CLASSES = tuple("abcd")
NUMBERS = RNG.integers(0, 4, ROWS)
WEIGHTS = RNG.random(ROWS).astype(np.float32)
ORDER = np.random.default_rng(5).permutation(ROWS)


def dense(units: int, activation: str | None = None, loss: Any = "mse", **settings: Any) -> keras.Model:
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8, "relu"), layers.Dense(units, activation)])
    model.compile(settings.pop("optimizer", "adam"), loss, **settings)
    return model


def two_outputs() -> keras.Model:
    a, b = keras.Input((5,), name="a"), keras.Input((5,), name="b")
    hidden = layers.Dense(8, "relu")(layers.Concatenate()([a, b]))
    outputs = [layers.Dense(1, name="priority")(hidden), layers.Dense(4, name="department")(hidden)]
    model = keras.Model({"a": a, "b": b}, outputs)
    losses = {
        "priority": keras.losses.BinaryCrossentropy(from_logits=True),
        "department": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }
    model.compile("adam", losses, loss_weights={"priority": 1.0, "department": 0.2})
    return model


class Vae(keras.Model):
    """An own train_step without targets, and a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = layers.Dense(3), layers.Dense(5)
        self.tracker = keras.metrics.Mean(name="loss")
        self.generator = keras.random.SeedGenerator(3)

    @property
    def metrics(self) -> list[Any]:
        return [self.tracker]

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape() as tape:
            code = self.encode(data)
            code = code + keras.random.normal(tf.shape(code), seed=self.generator)
            loss = tf.reduce_mean((self.decode(code) - data) ** 2)
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


class Student(keras.Model):
    """A subclassed model with an own compute_loss without `training`."""

    def __init__(self) -> None:
        super().__init__()
        self.student = keras.Sequential([layers.Dense(8, "relu"), layers.Dense(4)])

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> Any:
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True))

    def call(self, inputs: Any) -> Any:
        return self.student(inputs)


class OwnTest(keras.Model):
    """An own test_step with a metric of its own."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.recon = keras.metrics.Mean(name="recon")

    def test_step(self, batch: Any) -> Any:
        x, y = batch
        self.recon.update_state(keras.ops.mean((self(x, training=False) - y) ** 2) + 100)
        return {"recon": self.recon.result()}


class Activity(layers.Layer):
    """A layer that adds a loss."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(keras.ops.mean(inputs**2))
        return inputs


def compiled(model: keras.Model, **settings: Any) -> keras.Model:
    model.compile("adam", **settings)
    return model


def add_loss() -> keras.Model:
    inputs = keras.Input((5,))
    return compiled(keras.Model(inputs, Activity()(layers.Dense(3)(inputs))))


def reorder(tree: Any) -> Any:
    return None if tree is None else keras.tree.map_structure(lambda array: array[ORDER], tree)


ONE_HOT = np.eye(4, dtype=np.float32)[NUMBERS]
LOGITS = keras.losses.CategoricalCrossentropy(from_logits=True)
# name: model, inputs, targets, targets that Model.fit takes, settings
CASES: dict[str, tuple[Callable[[], keras.Model], Any, Any, Any, dict[str, Any]]] = {
    "two inputs and outputs": (
        two_outputs,
        {"a": X, "b": X[:, ::-1].astype(np.float64)},
        {"priority": NUMBERS[:, None] // 2, "department": NUMBERS},
        None,
        {},
    ),
    "weights": (
        lambda: dense(4, "softmax", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"]),
        X,
        NUMBERS,
        None,
        {"weights": WEIGHTS},
    ),
    "class_weight": (
        lambda: dense(4, "softmax", "categorical_crossentropy"),
        X,
        NUMBERS,
        ONE_HOT,
        {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}},
    ),
    "class_weight of a column": (
        lambda: dense(1, "sigmoid", "binary_crossentropy"),
        X,
        NUMBERS[:, None] // 2,
        None,
        {"class_weight": {0: 1.0, 1: 20.0}},
    ),
    "names of classes, logits": (
        lambda: dense(4, None, LOGITS),
        X,
        np.array(list("abcd"), object)[NUMBERS],
        ONE_HOT,
        {},
    ),
    "target is input": (lambda: dense(5), X, X, None, {}),
    "accumulated gradients": (
        lambda: dense(1, optimizer=keras.optimizers.Adam(0.01, gradient_accumulation_steps=3)),
        X,
        X.sum(axis=1),
        X.sum(axis=1, keepdims=True),
        {},
    ),
    "own train_step": (lambda: compiled(Vae()), X, None, None, {}),
    "own compute_loss": (lambda: compiled(Student()), X, NUMBERS, None, {}),
    "add_loss": (add_loss, X, None, None, {}),
    "unbuilt": (
        lambda: compiled(
            keras.Sequential([layers.Dense(4), layers.Dropout(0.5), layers.Dense(1)]), loss="mse"
        ),
        X,
        X.sum(axis=1, keepdims=True),
        None,
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_epoch_and_a_validation_equal_those_of_keras(case: str) -> None:
    build, inputs, targets, fit_targets, settings = CASES[case]
    weights, class_weight = settings.get("weights"), settings.get("class_weight")
    fit_targets = targets if fit_targets is None else fit_targets
    keras.utils.set_random_seed(1)
    reference = build()
    history = reference.fit(
        reorder(inputs),
        reorder(fit_targets),
        sample_weight=reorder(weights),
        class_weight=class_weight,
        batch_size=BATCH,
        shuffle=False,
        verbose=0,
    ).history
    keras.utils.set_random_seed(1)
    model = build()
    split = Split(inputs, targets, weights)
    classes = CLASSES if isinstance(targets, np.ndarray) and targets.dtype == object else ()
    data = normalize_dataset(Dataset("d", split, split, classes=classes))
    outputs = infer_outputs(model, data)
    program = programs.make_program(model, data.train, BATCH, outputs=outputs, class_weight=class_weight)
    program.begin_epoch(ORDER)
    model.reset_metrics()
    program.train(0, 1)
    program.train(1, program.steps)
    for expected, actual in zip(reference.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, atol=2e-6)
    assert dict(program.metrics()) == pytest.approx(
        {name: values[-1] for name, values in history.items()}, abs=1e-5
    )
    if case == "own train_step":
        return
    evaluation = programs.make_predictor(model, outputs).evaluate(data.validation)
    expected = model.evaluate(
        inputs, fit_targets, sample_weight=weights, batch_size=ROWS, verbose=0, return_dict=True
    )
    assert dict(evaluation.metrics) == pytest.approx(expected, abs=1e-5)


def outputs_of_model(model: keras.Model, targets: Any, classes: tuple[str, ...] = ()) -> tuple[Output, ...]:
    return infer_outputs(model, Dataset("d", Split(X, targets), None, classes=classes))


@pytest.mark.parametrize(
    ("units", "activation", "loss", "targets", "kind", "expected"),
    [
        (1, None, keras.losses.BinaryCrossentropy(from_logits=True), NUMBERS // 2, "classes", "sigmoid"),
        (1, "sigmoid", "binary_crossentropy", NUMBERS // 2, "classes", ""),
        (4, None, LOGITS, ONE_HOT, "classes", "softmax"),
        (4, "softmax", "sparse_categorical_crossentropy", NUMBERS, "classes", ""),
        (4, None, lambda y, p: keras.ops.mean(p), NUMBERS, "classes", "softmax"),
        (1, None, "hinge", NUMBERS // 2, "classes", "sigmoid"),
        (6, "sigmoid", "binary_crossentropy", RNG.integers(0, 2, (ROWS, 6)), "labels", ""),
        (2, None, "mse", RNG.random((ROWS, 2)), "values", ""),
        (5, None, "mse", None, "none", ""),
    ],
)
def test_outputs_are_inferred(
    units: int, activation: str | None, loss: Any, targets: Any, kind: str, expected: str
) -> None:
    custom = callable(loss) and not isinstance(loss, keras.losses.Loss)
    classes = CLASSES if custom else ("a", "b") if loss == "hinge" else ()
    (output,) = outputs_of_model(dense(units, activation, loss), targets, classes)
    assert (output.kind, output.activation) == (kind, expected)


@pytest.mark.parametrize(
    ("units", "classes", "targets"), [(3, CLASSES, NUMBERS), (1, (), RNG.random((ROWS, 2)))]
)
def test_units_that_do_not_fit_are_refused(units: int, classes: tuple[str, ...], targets: Any) -> None:
    loss = "sparse_categorical_crossentropy" if classes else "mse"
    with pytest.raises(BadDataError, match="returns"):
        outputs_of_model(dense(units, None, loss), targets, classes)


def test_logits_become_probabilities() -> None:
    outputs = (
        Output(kind="classes", name="a", classes=("x", "y"), activation="sigmoid"),
        Output(kind="classes", name="b", classes=("x", "y"), activation="softmax"),
    )
    found = predictions_of([np.array([[0.0], [-800.0]]), np.array([[1000.0, 1000.0]])], outputs)
    assert found["a"].ravel().tolist() == [0.5, 0.0]
    assert found["b"].tolist() == [[0.5, 0.5]]


def test_a_loss_of_ones_own_gets_the_targets_as_they_are() -> None:
    model = dense(4, "softmax", lambda y, p: keras.ops.mean(p))
    outputs = outputs_of_model(model, NUMBERS, CLASSES)
    assert programs.encode_targets(model, NUMBERS, outputs) is NUMBERS


def test_own_test_step_gives_the_metrics() -> None:
    inputs = keras.Input((5,))
    model = compiled(OwnTest(inputs, layers.Dense(1)(inputs)), loss="mse")
    split = Split(X, X.sum(axis=1, keepdims=True))
    outputs = infer_outputs(model, Dataset("d", split, split))
    programs.make_program(model, split, BATCH, outputs=outputs)
    evaluation = programs.make_predictor(model, outputs, batch_size=BATCH).evaluate(split)
    assert evaluation.metrics["recon"] > 100
    assert evaluation.predictions.shape == (ROWS, 1)


def test_fixed_batch_size_leaves_out_an_incomplete_batch_and_says_so() -> None:
    inputs = keras.Input((5,), batch_size=16)
    states = layers.LSTM(3, stateful=True)(layers.Reshape((5, 1))(inputs))
    model = compiled(keras.Model(inputs, layers.Dense(1)(states)), loss="mse")
    split, listener = Split(X, X.sum(axis=1)), RecordingListener()
    outputs = infer_outputs(model, Dataset("d", split, split))
    program = programs.make_program(model, split, 16, outputs=outputs, listener=listener)
    program.begin_epoch(ORDER)
    program.train(0, program.steps)
    assert program.steps == ROWS // 16
    assert any("left out" in message for message in listener.messages)
    predictor = programs.make_predictor(model, outputs)
    evaluation = predictor.evaluate(split)
    assert evaluation.predictions.shape == (ROWS, 1)
    np.testing.assert_allclose(predictor.predict(X), evaluation.predictions, atol=1e-6)


def test_predicted_rows_are_bounded_by_the_bytes_of_the_layers() -> None:
    inputs = keras.Input((64, 64, 3))
    outputs = layers.Dense(1)(layers.GlobalAveragePooling2D()(layers.Conv2D(64, 3)(inputs)))
    model = compiled(keras.Model(inputs, outputs), loss="mse")
    pictures = np.zeros((100, 64, 64, 3), np.uint8)
    assert programs.make_predictor(model)._rows_per_batch(pictures) < predictors.MAX_BYTES // (
        62 * 62 * 64 * 4
    )
    assert programs.make_predictor(dense(1))._rows_per_batch(X) == predictors.MAX_ROWS


class Batches(keras.utils.PyDataset):
    """Five batches, in another order of rows after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = np.arange(ROWS)

    def __len__(self) -> int:
        return ROWS // BATCH

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        rows = self.rows[number * BATCH : (number + 1) * BATCH]
        return X[rows] + np.random.normal(0, 0.01, (BATCH, 5)).astype(np.float32), X[rows].sum(axis=1)

    def on_epoch_end(self) -> None:
        np.random.shuffle(self.rows)


def train_stream(epochs: range, weights: list[Any] | None = None) -> list[Any]:
    keras.utils.set_random_seed(1)
    model = dense(1, optimizer="sgd")
    split = Split(Stream(Batches()))
    program = programs.make_program(
        model, split, 32, outputs=infer_outputs(model, Dataset("d", split, None)), seed=3
    )
    if weights:
        model.set_weights(weights)
    for epoch in epochs:
        program.begin_epoch(np.random.default_rng([3, epoch]).permutation(program.rows), epoch)
        program.train(0, 2)
        program.train(2, program.steps)
    return list(model.get_weights())


def test_indexed_stream_resumes_bit_for_bit() -> None:
    whole, resumed = train_stream(range(1, 4)), train_stream(range(3, 4), train_stream(range(1, 3)))
    for expected, actual in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_tf_data_pipeline_trains_as_fit_and_says_that_resume_is_not_exact() -> None:
    pipeline = tf.data.Dataset.from_tensor_slices((X, NUMBERS // 2)).batch(BATCH).prefetch(1)

    def build() -> keras.Model:
        return dense(1, "sigmoid", "binary_crossentropy", metrics=["accuracy"])

    keras.utils.set_random_seed(1)
    reference = build()
    reference.fit(pipeline, class_weight={0: 1.0, 1: 3.0}, verbose=0)
    keras.utils.set_random_seed(1)
    model, listener, split = build(), RecordingListener(), Split(Stream(pipeline))
    outputs = infer_outputs(model, Dataset("d", split, split, classes=("a", "b")))
    program = programs.make_program(
        model, split, 32, outputs=outputs, class_weight={0: 1.0, 1: 3.0}, listener=listener
    )
    program.begin_epoch(np.arange(program.rows))
    program.train(0, 2)
    program.train(2, program.steps)
    assert (len(split), program.steps) == (ROWS, ROWS // BATCH)
    for expected, actual in zip(reference.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(actual, expected, atol=2e-6)
    assert sum("not exactly the same" in message for message in listener.messages) == 1
    evaluation = programs.make_predictor(model, outputs).evaluate(split)
    assert evaluation.metrics["loss"] == pytest.approx(reference.evaluate(pipeline, verbose=0)[0], abs=1e-5)
    assert (evaluation.predictions.shape, evaluation.targets.shape) == ((ROWS, 1), (ROWS,))


def test_memory_mapped_inputs_are_read_batch_by_batch(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    trained = []
    for inputs, kind in ((X, programs.DenseProgram), (mapped, programs.StreamedProgram)):
        keras.utils.set_random_seed(1)
        model = dense(1)
        program = programs.make_program(model, Split(inputs, X.sum(axis=1, keepdims=True)), BATCH)
        assert isinstance(program, kind)
        program.begin_epoch(ORDER)
        program.train(0, program.steps)
        trained.append(model.get_weights())
    for expected, actual in zip(*trained, strict=True):
        np.testing.assert_allclose(actual, expected, atol=2e-6)
