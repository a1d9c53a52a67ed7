"""What a run records of a script's `fit` and `evaluate`: parameters, epochs, data, models and weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mlctl.errors import BadDataError, UsageError
from mlctl.services.scripts import fit_record, fitted, observer, result
from tests.script_run import ScriptRun, run_here, unscored_model

HEAD = """
import gc, itertools, os, sys
import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(3)
rng = np.random.default_rng(0)
x = rng.normal(size=(96, 4)).astype("float32")
y = (x[:, 0] > 0).astype("int64")

def make(name=None, units=1):
    layers = [keras.Input((4,)), keras.layers.Dense(units, activation="sigmoid")]
    model = keras.Sequential(layers, name=name)
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9), "binary_crossentropy", metrics=["accuracy"])
    return model
"""


def run(folder: Path, code: str, *arguments: str, **options: Any) -> ScriptRun:
    return run_here(folder, f"{HEAD}\n{code}", *arguments, **options)


def test_what_fit_gets_is_recorded_before_the_first_epoch(tmp_path: Path) -> None:
    code = """
import json
from pathlib import Path

class Look(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        entries = [json.loads(line) for line in next(Path(".state").rglob("journal.jsonl")).read_text().splitlines()]
        global early
        early = {name for entry in entries if entry["kind"] in ("params", "tags") for name in entry["values"]}

model = make()
stop = keras.callbacks.EarlyStopping("val_accuracy", patience=9, restore_best_weights=True)
model.fit(x[:64], y[:64], validation_data=(x[64:80], y[64:80]), epochs=3, batch_size=16, verbose=0,
          class_weight={0: 1.0, 1: 2.0}, callbacks=[Look(), [stop]])
results = model.evaluate(x[80:], y[80:], verbose=0)
named = model.evaluate(x[80:], y[80:], verbose=0, return_dict=True)
"""
    found = run(tmp_path, code)
    assert {"epochs", "optimizer", "mlctl.data.sha256", "mlctl.data.spec"} <= found.names["early"]
    assert found.params == {
        "epochs": "3",
        "batch_size": "16",
        "class_weight": "0: 1.0, 1: 2.0",
        "callbacks": "Look, EarlyStopping(monitor=val_accuracy, patience=9, restore_best_weights=True)",
        "optimizer": "SGD",
        "learning_rate": "0.02",
        "optimizer_momentum": "0.9",
        "loss": "binary_crossentropy",
        "metrics": "accuracy",
    }
    assert list(found.history("val_loss")) == [1, 2, 3]
    assert set(found.history("learning_rate").values()) == {0.02}
    # evaluate returns the loss first, as without mlctl
    assert found.names["results"] == [found.names["named"]["loss"], found.names["named"]["accuracy"]]
    assert found.metrics["test_loss"] == found.names["named"]["loss"]
    assert found.tags["mlctl.data.splits"] == '{"train":64,"validation":16}'
    assert found.tags["mlctl.data.spec"].startswith("train: x: float32 (64, 4); y: int64 (64)")
    assert "mlctl.test_data" not in found.tags


FORMS = {
    "frame": "import pandas as pd; model.fit(pd.DataFrame(x, columns=list('abcd')), pd.Series(y), verbose=0)",
    "pipeline": "model.fit(tf.data.Dataset.from_tensor_slices((x, y)).shuffle(96).batch(32), verbose=0)",
    "endless": (
        "model.fit(tf.data.Dataset.from_tensor_slices((x, y)).repeat().batch(32), steps_per_epoch=2, verbose=0,"
        " validation_data=tf.data.Dataset.from_tensor_slices((x, y)).repeat().batch(32), validation_steps=1)"
    ),
    "generator": "model.fit(((x[i:i + 8], y[i:i + 8]) for i in range(0, 96, 8)), steps_per_epoch=12, verbose=0)",
    "split": "model.fit(x, y, validation_split=0.25, sample_weight=np.ones(96), verbose=0)",
    "no_targets": """
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activity_regularizer="l2")])
model.compile("sgd")
model.fit(x, verbose=0)""",
    "named": """
inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((1,), name="b")}
model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Concatenate()(list(inputs.values()))))
model.compile("sgd", "mse")
import pandas as pd
model.fit({"a": x[:, :2], "b": pd.Series(x[:, 2]), "unused": x}, y, verbose=0)""",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_data_is_recorded_and_its_model_logged(tmp_path: Path, form: str) -> None:
    code = f"model = make()\n{FORMS[form]}\n"
    found = run(tmp_path, code, save=form != "split")
    assert found.status == "FINISHED"
    assert found.logged is not None, found.messages
    assert "mlctl.model_error" not in found.tags
    assert re.fullmatch(r"[0-9a-f]{64}", found.tags["mlctl.data.sha256"])
    assert found.tags["mlctl.data.spec"]
    assert len(found.datasets) == 1
    assert found.history("loss")
    if form == "generator":
        assert found.tags["mlctl.data.spec"].startswith("generator of x: float32 (batch, 4)")
    if form == "split":
        assert found.tags["mlctl.data.splits"] == '{"train":72,"validation":24}'
        assert "best_val_loss" in found.metrics


def test_files_that_the_script_reads_are_its_data(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    code = """
import pandas as pd
pd.read_csv("rows.csv")
open("result.txt", "w").write("1"); open("result.txt").read()
make().fit(((x[i:i + 8], y[i:i + 8]) for i in range(0, 96, 8)), steps_per_epoch=12, verbose=0)
"""
    found = run(tmp_path, code)
    assert '"rows.csv"' in found.tags["mlctl.data.files"]
    assert "result" not in found.tags["mlctl.data.files"]
    assert found.tags["mlctl.data"] == "rows.csv"


def test_phases_of_one_model_continue_its_steps(tmp_path: Path) -> None:
    code = """
base = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="base")
model = keras.Sequential([keras.Input((4,)), base, keras.layers.Dense(1)])
base.trainable = False
model.compile(keras.optimizers.Adam(1e-3), "mse")
model.fit(x, y, epochs=2, verbose=0)
base.trainable = True
model.compile(keras.optimizers.Adam(1e-5), "mse")
model.fit(x, y, epochs=5, initial_epoch=2, verbose=0)
"""
    found = run(tmp_path, code)
    assert list(found.history("loss")) == [1, 2, 3, 4, 5]
    assert list(found.history("phase").values()) == [1, 1, 2, 2, 2]
    params = found.params
    assert params["phase"] == "1: epochs 1 to 2; 2: epochs 3 to 5"
    assert (params["learning_rate"], params["fit_2_learning_rate"]) == ("0.001", "1e-05")
    assert (params["epochs"], params["fit_2_epochs"]) == ("2", "5")
    assert params["frozen_weights"] == "2"
    assert "fit_2_optimizer" not in params


def test_several_models_are_told_apart(tmp_path: Path) -> None:
    code = """
teacher, student = make("teacher"), make("student", units=1)
teacher.fit(x, y, epochs=2, verbose=0)
teacher.evaluate(x[:8] + 1, y[:8], verbose=0)
student.compile("adam", "mse")
student.fit(x, y, epochs=1, verbose=0)
"""
    found = run(tmp_path, code, model="techer")
    assert found.said("no model 'techer'", "teacher", "student")
    assert list(found.history("loss")) == [1, 2]
    assert list(found.history("student_loss")) == [1]
    assert found.params["student_optimizer"] == "Adam"
    assert found.params["student_epochs"] == "1"
    assert "test_loss" not in found.metrics  # evaluate was called for the other model
    assert found.metrics["best_epoch"] == 1
    named = run(tmp_path, code, model="teacher")
    assert named.metrics["best_epoch"] == 2
    assert named.metrics["test_loss"] > 0
    chosen = run(tmp_path, f"import mlctl.keras\n{code}\nmlctl.keras.log(teacher)")
    assert chosen.metrics["best_epoch"] == 2
    assert chosen.metrics["test_loss"] == named.metrics["test_loss"]


def test_many_short_fits_and_many_models_stay_cheap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fitted, fit_record, observer, result):
        monkeypatch.setattr(module, "MAX_RECORDED", 2)
    code = """
import weakref
model = make()
for number in range(12):
    model.fit(x, y, epochs=1, verbose=0)
references = []
for number in range(4):
    other = make("other")
    references.append(weakref.ref(other))
    other.fit(x[:8], y[:8], verbose=0)
del other
gc.collect()
alive = sum(reference() is not None for reference in references)
"""
    found = run(tmp_path, code)
    assert list(found.history("loss")) == list(range(1, 13))
    assert found.names["alive"] == 1
    assert len(found.params) < 20
    assert len(found.datasets) == 2
    assert {name for name in found.metrics if name.endswith("_loss")} == {"other_loss", "other_4_loss"}


WEIGHTS = """
class Cool(keras.callbacks.Callback):  # the second of four epochs is the best
    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = [3.0, 1.0, 2.0, 4.0][epoch]
        kept.append(self.model.get_weights())
kept = []
model = make()
more = []
def fit():
    model.fit(x[:64], y[:64], validation_data=(x[64:80], y[64:80]), epochs=4, verbose=0, callbacks=[Cool(), *more])
"""
STOP = "more = [keras.callbacks.EarlyStopping('val_loss', patience=9, restore_best_weights=True)]\n"


@pytest.mark.parametrize(
    ("code", "options", "epoch", "words"),
    [
        ("fit()", {}, 2, ()),
        ("fit()", {"keep": "last"}, 4, ()),
        ("fit()", {"objective": "val_f2"}, 4, ("does not measure val_f2", "val_accuracy")),
        (f"{STOP}fit()", {}, 2, ()),
        (f"{STOP.replace('val_loss', 'val_accuracy')}fit()", {"objective": "val_loss"}, None, ()),
        ("fit(); model.set_weights(kept[2])", {}, 3, ("restored the weights of epoch 3", "epoch 2")),
        ("fit(); model.set_weights([array * 0 for array in kept[0]])", {}, 0, ("set other weights",)),
    ],
)
def test_the_kept_weights(
    tmp_path: Path, code: str, options: dict[str, Any], epoch: int | None, words: tuple[str, ...]
) -> None:
    import numpy as np

    found = run(
        tmp_path,
        f"{WEIGHTS}{code}\nmodel.evaluate(x[80:], y[80:], verbose=0)\nend = model.get_weights()",
        **options,
    )
    names = found.names
    if epoch is not None:
        expected = names["kept"][epoch - 1] if epoch else names["end"]
        for logged, wanted in zip(found.logged or [], expected, strict=True):
            np.testing.assert_array_equal(logged, wanted)
    if epoch:
        assert found.metrics["best_epoch"] == epoch
    if words:
        assert found.said(*words), found.messages
    # the script's own model is as the script left it
    for present, wanted in zip(names["model"].get_weights(), names["end"], strict=True):
        np.testing.assert_array_equal(present, wanted)
    names["model"].set_weights(found.logged)
    measured = names["model"].evaluate(names["x"][80:], names["y"][80:], verbose=0, return_dict=True)
    assert found.metrics["test_loss"] == pytest.approx(measured["loss"])


@pytest.mark.parametrize(
    ("code", "expected", "tag"),
    [
        ("model.evaluate(tx, ty, verbose=0); model.evaluate(vx, vy, verbose=0)", "tx, ty", None),
        ("model.evaluate(vx.copy(), vy.copy(), verbose=0)", "vx, vy", "the validation data"),
        ("model.evaluate(x[:10], y[:10], verbose=0)", "x[:10], y[:10]", "the training data"),
        (
            "keras.models.clone_model(model); loaded = save_and_load(model); loaded.evaluate(tx, ty, verbose=0)",
            "tx, ty",
            None,
        ),
    ],
)
def test_the_evaluation_that_describes_the_logged_model(
    tmp_path: Path, code: str, expected: str, tag: str | None
) -> None:
    found = run(
        tmp_path,
        f"""
vx, vy, tx, ty = x[64:80], y[64:80], x[80:], y[80:]
def save_and_load(model):
    model.save("m.keras")
    return keras.saving.load_model("m.keras")
model = make()
model.evaluate(tx, ty, verbose=0)
model.fit(x[:64], y[:64], validation_data=(vx, vy), epochs=2, verbose=0)
{code}
expected = {expected}
""",
    )
    names = found.names
    measured = names["model"].evaluate(*names["expected"], verbose=0, return_dict=True)
    assert found.metrics["test_loss"] == pytest.approx(measured["loss"])
    assert found.tags.get("mlctl.test_data") == tag
    assert found.said("test_*", "data") == (tag is not None)


def test_a_model_that_cannot_be_logged_does_not_lose_the_run(tmp_path: Path) -> None:
    code = """
class Gan(keras.Model):
    def __init__(self):
        super().__init__()
        self.generator = make("generator")
        self.d_optimizer = keras.optimizers.Adam(0.01)
        self.loss_tracker = keras.metrics.Mean(name="d_loss")
    def train_step(self, data):
        inputs = data[0]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.generator(inputs))
        weights = self.generator.trainable_weights
        self.d_optimizer.apply(tape.gradient(loss, weights), weights)
        self.loss_tracker.update_state(loss)
        return {"d_loss": self.loss_tracker.result(), "bad": float("nan")}
gan = Gan()
gan.compile()
gan.fit(x, y, epochs=2, verbose=0)
print("done")
"""
    found = run(tmp_path, code, save=True)
    assert found.status == "FINISHED"
    assert found.said("the model is not logged: Gan has no call()", "--model NAME", "generator")
    assert found.tags["mlctl.model_error"]
    assert list(found.history("d_loss")) == [1, 2]
    assert found.history("d_optimizer_learning_rate")[1] == 0.01
    assert found.params["d_optimizer"] == "Adam"
    assert "optimizer" not in found.params
    assert found.text("output.txt") == "done\n"
    part = run(tmp_path, code, save=True, model="generator")
    assert "mlctl.model_error" not in part.tags, part.messages
    assert part.load_model().predict(part.names["x"][:2]).shape == (2, 1)


def test_code_of_the_script_travels_with_its_model(tmp_path: Path) -> None:
    (tmp_path / "layers_of_mine.py").write_text(
        "import keras\n\nclass Half(keras.layers.Layer):\n    def call(self, inputs):\n        return inputs / 2\n"
    )
    code = """
from layers_of_mine import Half

class Add(keras.layers.Layer):
    def __init__(self, number=1.0, **options):
        super().__init__(**options)
        self.number = number
    def call(self, inputs):
        return inputs + self.number
    def get_config(self):
        return {**super().get_config(), "number": self.number}

def loss(expected, found):
    return keras.ops.mean(keras.ops.square(expected - found))

model = keras.Sequential([keras.Input((4,)), Half(), Add(3.0)])
model.compile("sgd", loss)
model.fit(x, x, epochs=1, verbose=0)
"""
    found = run(tmp_path, code, save=True)
    assert "mlctl.model_error" not in found.tags, found.messages
    answers = found.load_model().predict(found.names["x"][:3])
    assert answers == pytest.approx(found.names["x"][:3] / 2 + 3)
    assert {"script.py", "code/layers_of_mine.py"} <= found.artifacts()
    assert found.params["loss"] == "loss"


def test_data_that_is_gone_at_the_end_does_not_lose_the_model(tmp_path: Path) -> None:
    code = """
import tempfile
with tempfile.TemporaryDirectory() as folder:
    np.savetxt(f"{folder}/rows.csv", np.c_[x, y], delimiter=",")
    lines = tf.data.TextLineDataset(f"{folder}/rows.csv")
    def parse(line):
        row = tf.io.decode_csv(line, [0.0] * 5)
        return tf.stack(row[:4]), row[4]
    model = make()
    model.fit(lines.map(parse).batch(32), epochs=1, verbose=0)
"""
    found = run(tmp_path, code, save=True)
    assert found.said("the data cannot be read again", "made-up rows")
    assert "mlctl.model_error" not in found.tags
    assert found.load_model().predict(found.names["x"][:2]).shape == (2, 1)


def test_targets_that_cannot_be_scored_do_not_lose_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def log(recorder: Any, prepared: Any, model: Any, split: Any, **_: Any) -> Any:
        if split is not None or prepared.data.train.targets is not None:
            raise BadDataError("the targets do not fit", "")
        return unscored_model()

    monkeypatch.setattr(result, "log_keras_model", log)
    code = "model = make(); model.fit(x, y, validation_split=0.5, verbose=0)"
    found = run(tmp_path, code, save=True)
    assert found.said("the logged model is not scored: the targets do not fit")
    assert "mlctl.model_error" not in found.tags
    assert {"best_val_loss", "best_epoch"} <= found.metrics.keys()


def test_what_is_no_model_is_refused_by_log(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a str cannot be logged"):
        run(tmp_path, "import mlctl.keras; mlctl.keras.log('teacher')")


def test_a_fault_of_mlctl_is_not_the_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise TypeError("a fault")

    monkeypatch.setattr(fit_record.FitRecord, "begin", fail)
    monkeypatch.setattr(fitted.FittedModels, "compiled", fail)
    found = run(tmp_path, "model = make(); model.fit(x, y, epochs=2, verbose=0); model.fit(x, y, verbose=0)")
    assert found.status == "FINISHED"
    assert [message for message in found.messages if "a fault" in message] == [
        "compile is not recorded: TypeError: a fault",
        "the call of fit is not recorded: TypeError: a fault",
    ]
    assert list(found.history("loss")) == [1, 2, 3]
