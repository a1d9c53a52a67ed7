"""Errors out of each part of a recipe, raised by mlctl's own steps: they name the file and line, and the cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl import settings
from mlctl.domain.progress import NullProgress
from mlctl.errors import BadDataError
from mlctl.recipes import resolve
from mlctl.services.recipes.prepare import PreparedData, check_values, prepare
from mlctl.services.training.dry_run import dry_run
from tests.trained import TINY

CAUSE = "the width is 42"
FAIL = f"raise ValueError('{CAUSE}')"
IN_GRAPH = f"tf.debugging.assert_less(y, -9.0, '{CAUSE}')"

# each part fails where its name is written as a comment; `{body}` replaces that comment in one test
PARTS = """
import keras
import tensorflow as tf


class Scaler:
    def fit(self, x):
        pass  # encoder.fit
        return self

    def __call__(self, x):
        pass  # encoder
        return x


class Scale(keras.layers.Layer):
    def call(self, y):
        if isinstance(y, tf.Tensor) and tf.inside_function():
            pass  # layer
        return y


class Mean(keras.metrics.Mean):
    def update_state(self, y_true, y, sample_weight=None):
        pass  # metric
        return super().update_state(y)


def own_loss(y_true, y):
    pass  # loss
    return keras.losses.binary_crossentropy(y_true, y)


class Hooks(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass  # on_train_batch_end

    def on_epoch_end(self, epoch, logs=None):
        pass  # on_epoch_end


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x) // 20

    def __getitem__(self, index):
        pass  # PyDataset
        rows = slice(index * 20, index * 20 + 20)
        return self.x[rows], self.y[rows]


def pipeline(x, y):
    def generate():
        pass  # generator
        yield x, y

    def change(x, y):
        pass  # map
        return x, y

    signature = (tf.TensorSpec((None, 6), tf.float32), tf.TensorSpec((None,), tf.int64))
    return tf.data.Dataset.from_generator(generate, output_signature=signature).map(change)
"""
METHODS = """
    def encoder(self, data):
        return None if data.train.is_stream else Scaler().fit(data.train.inputs)

    def callbacks(self, hp, data):
        pass  # callbacks
        return [Hooks()]

    def phases(self, hp, data):
        def start(model, hp, data):
            pass  # phase

        return [Phase(name="head", epochs=1, start=start)]

    def scores(self, targets, predictions):
        pass  # scores
        return {}

    def serving(self, model, data):
        pass  # serving
        return model
"""
RECIPE = (
    TINY.replace("import Recipe,", "import Phase, Recipe,")
    .replace("\n\nclass Tiny", f"{PARTS}\n\nclass Tiny")
    .replace("        rng =", "        pass  # load\n        rng =")
    .replace("        inputs =", "        pass  # build\n        inputs =")
    .replace("(hidden)", "(Scale()(hidden))")
    .replace('"binary_crossentropy", metrics=["accuracy"]', "own_loss, metrics=[Mean()]")
    .replace("val_accuracy", "val_mean")
) + METHODS
STREAMS = {"PyDataset": "Batches", "generator": "pipeline", "map": "pipeline"}


def failing(folder: Path, part: str, fault: str) -> tuple[Path, int]:
    """Write the recipe with a fault in one part; return the file, and the fault's line."""
    file, text = folder / "tiny.py", RECIPE
    if part in STREAMS:
        text = text.replace("Split(x[rows], y[rows])", f"Split({STREAMS[part]}(x[rows], y[rows]))")
    number = next(n for n, line in enumerate(text.splitlines(), 1) if line.endswith(f"  # {part}"))
    file.write_text(text.replace(f"pass  # {part}\n", f"{fault}\n"))
    return file, number


def prepared(file: Path) -> PreparedData:
    resolved = resolve(str(file))
    return prepare(settings.load({}), resolved, check_values(resolved, {}), listener=NullProgress())


@pytest.mark.parametrize(
    ("part", "activity"),
    [
        ("load", "loading its data"),
        ("encoder.fit", "making its encoder"),
        ("encoder", "encoding"),
        ("PyDataset", "reading its data"),
        ("generator", "reading its data"),
    ],
)
def test_an_error_of_the_data_names_its_line(tmp_path: Path, part: str, activity: str) -> None:
    file, number = failing(tmp_path, part, FAIL)
    with pytest.raises(BadDataError) as raised:
        prepared(file)
    assert raised.value.message.startswith(f"{file}, line {number}: {activity} failed: ")
    assert raised.value.message.endswith(f"ValueError: {CAUSE}")


def test_an_error_in_the_graph_of_a_pipeline_names_the_line_of_load(tmp_path: Path) -> None:
    file, _ = failing(tmp_path, "map", IN_GRAPH.replace("-9.0", "tf.cast(0, tf.int64)"))
    number = file.read_text().splitlines().index("    def load(self, source):") + 1
    with pytest.raises(BadDataError) as raised:
        prepared(file)
    assert raised.value.message.startswith(f"{file}, line {number}: reading its data failed: ")
    assert CAUSE in raised.value.message


@pytest.mark.parametrize(
    ("part", "fault", "activity"),
    [
        ("build", FAIL, "building its model"),
        ("layer", FAIL, "building its model"),
        ("layer", IN_GRAPH, "training its model"),
        ("metric", FAIL, "training its model"),
        ("loss", FAIL, "training its model"),
        ("callbacks", FAIL, "making its callbacks"),
        ("on_train_batch_end", FAIL, "training its model"),
        ("on_epoch_end", FAIL, "training its model"),
        ("phase", FAIL, "starting phase 'head'"),
        ("scores", FAIL, "training its model"),
        ("serving", FAIL, "choosing the model to serve"),
    ],
)
def test_an_error_of_the_training_names_its_line(
    tmp_path: Path, part: str, fault: str, activity: str
) -> None:
    file, number = failing(tmp_path, part, fault)
    with pytest.raises(BadDataError) as raised:
        list(dry_run(prepared(file)))
    message = raised.value.message
    assert message.startswith(f"{file}, line {number}: {activity} failed: ")
    assert CAUSE in message
    assert "Arguments received" not in message
    assert "Traceback" not in message


@pytest.mark.parametrize("loss", ["{!r}", "dict(dense={!r})"])
def test_the_configuration_of_a_loss_is_refused_as_keras_refuses_it(tmp_path: Path, loss: str) -> None:
    given = loss.format({"class_name": "BinaryCrossentropy", "config": {"from_logits": True}})
    text = TINY.replace('"binary_crossentropy"', given)
    (tmp_path / "tiny.py").write_text(text)
    with pytest.raises(BadDataError, match="compiles with the configuration of BinaryCrossentropy as a loss"):
        list(dry_run(prepared(tmp_path / "tiny.py")))
