"""The user's own code travels with a saved model, under the names that Keras looks up."""

from __future__ import annotations

import functools
import json
import pickle
import threading
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from mlctl.adapters.models import code, code_pickling
from mlctl.adapters.models.save import save_model
from mlctl.data.dataset import Dataset, Split
from mlctl.errors import BadDataError
from mlctl.recipes import find
from mlctl.serving import scoring

ROWS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
METADATA = {"recipe": "x", "task": "regression", "classes": [], "unit": ""}


def scale_by(factor: float) -> Any:
    """Return a model with a registered layer; its code differs by the factor, its names do not."""

    @keras.saving.register_keras_serializable("test_code")
    class Scale(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * factor

    model = keras.Sequential([keras.Input((4,)), Scale()])
    model.compile(loss="mse")
    return model


def save(folder: Path, model: Any, encoder: Any = None) -> Any:
    return save_model(folder, model, encoder=encoder, raw=ROWS, encoded=ROWS, metadata=METADATA)


def scorer(folder: Path) -> scoring.Scorer:
    return scoring.Scorer(str(folder / "artifacts" / "model"))


@pytest.fixture
def clean_registry() -> Any:
    registered = keras.saving.get_custom_objects()
    before = dict(registered)
    yield registered
    registered.clear()
    registered.update(before)


def keras_only(folder: Path) -> Path:
    """Remove the ONNX file, so that Keras answers."""
    (folder / "artifacts" / "model" / "model.onnx").unlink(missing_ok=True)
    return folder


def test_two_models_with_the_same_name_use_their_own_code(tmp_path: Path, clean_registry: Any) -> None:
    for name, factor in (("two", 2.0), ("three", 3.0)):
        assert save(tmp_path / name, scale_by(factor)).code == ("test_code>Scale",)
    clean_registry.pop("test_code>Scale")
    two, three = (scorer(keras_only(tmp_path / name)) for name in ("two", "three"))
    np.testing.assert_allclose(two(ROWS), ROWS * 2)
    np.testing.assert_allclose(three(ROWS), ROWS * 3)
    np.testing.assert_allclose(scorer(tmp_path / "two")(ROWS), ROWS * 2)
    # the stock keras flavor finds the code of the model that was loaded last
    model = keras.saving.load_model(tmp_path / "two" / "artifacts" / "model" / "model.keras")
    np.testing.assert_allclose(model(ROWS), ROWS * 2)


def test_a_class_that_the_process_registered_itself_stays(tmp_path: Path, clean_registry: Any) -> None:
    save(tmp_path / "two", scale_by(2.0))
    own = type(scale_by(5.0).layers[0])
    scorer(keras_only(tmp_path / "two"))
    assert clean_registry["test_code>Scale"] is own


def test_everything_that_keras_refers_to_by_name_travels(tmp_path: Path, clean_registry: Any) -> None:
    weight = 3.0

    class Schedule(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> float:
            return 1e-3

        def get_config(self) -> dict[str, Any]:
            return {}

    def relu(values: Any) -> Any:  # the name of one of Keras's own
        return keras.ops.relu(values) + 1

    def my_loss(targets: Any, answers: Any) -> Any:
        return keras.ops.mean((targets - answers) ** 2) * weight

    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, relu, kernel_initializer=lambda shape, dtype=None: keras.ops.ones(shape))(
        inputs
    )
    hidden = keras.layers.Lambda(lambda values: values * weight)(keras.layers.Dense(3, "relu")(hidden))
    model = keras.Model(inputs, keras.layers.Dense(1, lambda values: values - weight)(hidden))
    model.compile(keras.optimizers.Adam(Schedule()), my_loss, metrics=[lambda targets, answers: answers])
    model.optimizer.build(model.trainable_variables)
    saved = save(tmp_path / "m", model)
    assert {"Schedule", "my_loss", "test_code>relu"} <= set(saved.code)
    assert len(saved.code) == 7
    file = keras_only(tmp_path / "m") / "artifacts" / "model" / "model.keras"
    np.testing.assert_allclose(scorer(tmp_path / "m")(ROWS), model(ROWS), atol=1e-5)
    loaded = keras.saving.load_model(file)
    assert float(loaded.loss(np.ones(3), np.zeros(3))) == weight
    assert "relu" not in clean_registry  # every other model's "relu" is Keras's


def test_a_loss_that_cannot_travel_is_left_out(tmp_path: Path) -> None:
    class Loss:  # callable, without get_config
        def __call__(self, targets: Any, answers: Any) -> Any:
            return keras.ops.mean(answers)

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", Loss())
    assert save(tmp_path / "m", model).code == ()
    loaded = keras.saving.load_model(tmp_path / "m" / "artifacts" / "model" / "model.keras")
    assert not loaded.compiled
    np.testing.assert_allclose(loaded(ROWS), model(ROWS))


def test_a_model_without_own_code_has_no_code_file(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    saved = save(tmp_path / "m", model)
    assert (saved.runtime, saved.code, saved.has_own_encoder) == ("onnxruntime", (), False)
    assert not list(tmp_path.rglob("code.pkl"))
    assert "cloudpickle" not in (tmp_path / "m" / "requirements.txt").read_text()


def test_data_that_a_class_refers_to_does_not_travel() -> None:
    rows = np.zeros((1000, 1000))
    data = Dataset("x", Split(rows, rows[:, 0]), input_shape=(4,))

    class Shaped(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * data.input_shape[0]

    packed = code_pickling.pack(code.custom_objects(keras.Sequential([keras.Input((4,)), Shaped()])))
    assert len(packed.content) < 100_000
    (loaded,) = scoring.TravellingCode(packed.content).objects().values()
    np.testing.assert_allclose(loaded()(ROWS), ROWS * 4)
    big = np.zeros(2_000_000)
    assert "MB" in code_pickling.pack({"f": lambda values: values * big}).notes[0]


def test_what_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(BadDataError, match=r"bad cannot travel with the model: .*pickle.*lock"):
        code_pickling.pack({"good": lambda values: values, "bad": lambda values: lock})


def test_another_python_version_is_refused_in_one_line() -> None:
    content = pickle.loads(code_pickling.pack({"f": lambda values: values}).content)
    content["python"] = [3, 1]
    with pytest.raises(RuntimeError, match=r"needs Python 3\.1, this is 3\."):
        scoring.TravellingCode(pickle.dumps(content))


def test_an_own_encoder_travels(tmp_path: Path) -> None:
    class Encoder:
        offset = 1.0

        def __call__(self, raw: Any) -> Any:
            return scoring.PixelEncoder((4,), 2.0)(raw) + self.offset

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    encoder = Encoder()
    encoded = encoder(ROWS)
    saved = save_model(tmp_path / "m", model, encoder=encoder, raw=ROWS, encoded=encoded, metadata=METADATA)
    assert saved.has_own_encoder
    np.testing.assert_allclose(scorer(tmp_path / "m")(ROWS), model(encoded), atol=1e-6)
    state = json.loads((tmp_path / "m" / "artifacts" / "model" / "encoder.json").read_text())
    assert state["encoder"] == {"kind": "own"}


def test_modules_beside_two_recipes_do_not_mix(tmp_path: Path) -> None:
    recipe = (
        "from mlctl.recipes import Recipe\nimport mynet\n\n"
        "class Own(Recipe):\n    def encoder(self, data):\n        return mynet.Encoder()\n"
    )
    mynet = (
        "from mlctl.recipes import Dataset\nimport leaf\nclass Encoder:\n    def __call__(self, raw):\n"
        "        import late\n        return raw * leaf.VALUE + late.VALUE\n"
    )
    encoders = []
    for name, value in (("a", 2), ("b", 3)):
        folder = tmp_path / name
        folder.mkdir()
        for file, text in {
            "mine": recipe,
            "mynet": mynet,
            "leaf": f"VALUE = {value}",
            "late": f"VALUE = {value}0",
        }.items():
            (folder / f"{file}.py").write_text(text)
        own = find(str(folder / "mine.py")).encoder(None)  # type: ignore[arg-type]
        encoders.append(scoring.TravellingCode(code_pickling.pack({}, own).content).encoder())
    assert [encoder(1) for encoder in encoders] == [22, 33]


class Forgetful(keras.layers.Layer):
    """Forgets its factor."""

    def __init__(self, factor: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor

    def get_config(self) -> dict[str, Any]:
        return super().get_config()


class Demanding(Forgetful):
    """Has an argument without a default that get_config() does not return."""

    def __init__(self, factor: float, **options: Any) -> None:
        super().__init__(factor, **options)


class Opaque(keras.layers.Layer):
    """Has an argument that is no plain value, and no get_config()."""

    def __init__(self, thing: Any, **options: Any) -> None:
        super().__init__(**options)
        self.thing = thing

    def call(self, inputs: Any) -> Any:
        return inputs


class Kept(keras.layers.Layer):
    """Keeps a function, which its get_config() returns and its from_config() does not read."""

    def __init__(self, function: Any, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "function": self.function}


class Revived(Opaque):
    """Makes itself from a configuration in a way of its own."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls("", name=config["name"])


class Constant(keras.initializers.Initializer):
    """Has an argument, and no get_config()."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.full(shape, self.value)


class Doubling:
    """An activation that is an object."""

    def __call__(self, values: Any) -> Any:
        return values * 2


def dense(**settings: Any) -> Any:
    return lambda: keras.layers.Dense(2, name="d", **settings)


NO_CONFIG = r"\(Revived\): it has no get_config\(\) for the arguments"


@pytest.mark.parametrize(
    ("layer", "message", "hint"),
    [
        (lambda: Opaque(threading.Lock()), r"the model cannot be saved: .*\(Opaque\)", "Opaque.get_config()"),
        (lambda: Revived(len), rf"test_code\.py, line \d+: .*{NO_CONFIG}", "Revived.get_config()"),
        (
            dense(kernel_initializer=Constant(2.0)),
            r"kernel_initializer of .*Constant",
            "Constant.get_config()",
        ),
        (dense(activation=Doubling()), r"activation of the layer d \(Dense\) .* is a Doubling", "def"),
        (dense(activation=functools.partial(keras.ops.clip, x_min=0, x_max=1)), "is a partial", "def"),
        (dense(activation=Doubling().__call__), "is a method", "def"),
    ],
)
def test_a_layer_that_cannot_be_rebuilt_is_refused_before_training(
    layer: Any, message: str, hint: str
) -> None:
    model = keras.Sequential([keras.Input((4,)), layer(), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(BadDataError, match=message) as raised:
        code.check_savable(model, ROWS)
    assert "\n" not in raised.value.message
    assert hint in raised.value.hint


class Bare(keras.layers.Layer):
    """Its constructor takes nothing of what Keras hands to it."""

    def __init__(self, *parts: Any) -> None:
        super().__init__()
        self.parts = list(parts)

    def call(self, inputs: Any) -> Any:
        for part in self.parts:
            inputs = part(inputs)
        return inputs


class Subclassed(keras.Model):
    """A model without a graph of layers and without a get_config()."""

    def __init__(self, first: Any, scale: Any = 1.0) -> None:
        super().__init__()
        self.first, self.last, self.scale = first, keras.layers.Dense(1), scale

    def call(self, inputs: Any) -> Any:
        return self.last(self.first(inputs)) * self.scale


def test_own_classes_are_rebuilt_from_the_arguments_of_their_constructors(
    tmp_path: Path, clean_registry: Any
) -> None:
    own = [
        Forgetful(2.0, name="first"),
        Demanding(3.0),
        Opaque(lambda values: values),
        Kept(keras.ops.relu),
        Bare(keras.layers.Dense(4, name="inner"), Forgetful(4.0)),
        keras.Sequential([Units(4)]),
    ]
    model = Subclassed(keras.Sequential(own), scale=np.float32([0.5]))
    model.compile("adam", "mse")
    expected = model(ROWS)
    code.check_savable(model, ROWS)
    file = tmp_path / "model.keras"
    saved, note = code.savable_model(model, ROWS)
    assert (saved, note) == (model, "")
    packed = code_pickling.pack(code.save_keras(model, file))
    clean_registry.clear()
    with scoring.keras_scope(scoring.TravellingCode(packed.content).objects()):
        loaded = keras.saving.load_model(file)
    code.constructors.keras_from_config(code._all_layers(model))  # other tests use these classes as they were
    np.testing.assert_allclose(loaded(ROWS), expected, rtol=1e-6)
    assert loaded.first.layers[0].name == "first"
    assert Subclassed.get_config is keras.Model.get_config  # the user's class has what it had


def test_models_that_can_be_rebuilt_pass() -> None:
    for model in (scale_by(2.0), keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda v: v * 2)])):
        code.check_savable(model, ROWS)


def test_a_functional_model_that_keras_cannot_rebuild_is_saved_as_a_plain_one(tmp_path: Path) -> None:
    class Own(keras.Model):
        def __init__(self, *a: Any, **k: Any) -> None:  # Keras knows only *args and **kwargs
            super().__init__(*a, **k)
            self.seen = keras.metrics.Mean(name="seen")

    inputs = keras.Input((4,))
    model = Own(inputs, keras.layers.Dense(1)(inputs))
    model.compile("adam", "mse")
    code.check_savable(model, ROWS)
    saved = save_model(tmp_path / "model", model, encoder=None, raw=ROWS, encoded=ROWS, metadata={})
    assert any("Keras cannot rebuild Own" in note for note in saved.notes)
    assert saved.code == ()
    loaded = keras.saving.load_model(next((tmp_path / "model").rglob("model.keras")))
    np.testing.assert_allclose(loaded(ROWS), model(ROWS), rtol=1e-6)


class Units(keras.Sequential):
    """A Sequential model with a constructor of its own, which Keras calls with a name alone."""

    def __init__(self, units: int = 3, name: str | None = None) -> None:
        super().__init__([keras.Input((4,)), keras.layers.Dense(units)], name=name)


class Wide(keras.Model):
    """A functional model with a default that Keras takes for the argument."""

    def __init__(self, units: int = 3) -> None:
        inputs = keras.Input((4,))
        super().__init__(inputs, keras.layers.Dense(units)(scale_by(2.0).layers[0](inputs)))


class Star(keras.Model):
    """A functional model whose constructor takes anything."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)


def two_towers(inputs_as: Any, outputs_as: Any) -> Any:
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    total = keras.layers.Add()([left, right])
    up, down = keras.layers.Dense(1, name="up")(total), keras.layers.Dense(2, name="down")(total)
    return Star(inputs_as(left=left, right=right), outputs_as(up=up, down=down))


@pytest.mark.parametrize(
    ("build", "kind", "travels"),
    [(lambda: Units(5), "Sequential", ()), (lambda: Wide(5), "functional", ("test_code>Scale",))],
)
def test_a_graph_of_layers_of_an_own_class_is_saved_as_a_plain_model(
    tmp_path: Path, clean_registry: Any, build: Any, kind: str, travels: tuple[str, ...]
) -> None:
    model = build()
    model.compile("adam", "mse")
    code.check_savable(model, ROWS)
    saved = save(tmp_path / "m", model)
    assert [note for note in saved.notes if f"a plain {kind} model" in note and type(model).__name__ in note]
    assert saved.code == travels
    np.testing.assert_allclose(scorer(keras_only(tmp_path / "m"))(ROWS), model(ROWS), atol=1e-6)


@pytest.mark.parametrize("form", [dict, lambda **parts: list(parts.values())])
def test_a_plain_model_keeps_structure_and_names(tmp_path: Path, form: Any) -> None:
    model = two_towers(form, form)
    model.compile("adam", "mse")
    plain, note = code.savable_model(model)
    assert "cannot rebuild Star" in note
    file = tmp_path / "model.keras"
    assert code.save_keras(plain, file) == {}
    loaded = keras.saving.load_model(file)
    inputs = form(left=ROWS, right=ROWS + 1)
    answers, expected = loaded(inputs), model(inputs)
    assert type(answers) is type(expected)
    assert [tensor.name for tensor in loaded.inputs] == ["left", "right"]
    assert loaded.output_names == model.output_names
    keras.tree.map_structure(np.testing.assert_allclose, answers, expected)


class Forgets(keras.Model):
    """Its get_config() leaves out an argument, and its from_config() does not know it."""

    def __init__(self, units: int, scale: float = 1.0) -> None:
        super().__init__()
        self.dense, self.scale = keras.layers.Dense(units), scale

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs) * self.scale

    def get_config(self) -> dict[str, Any]:
        return {"units": self.dense.units}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        return cls(**config)


class Doubles(Star):
    """A functional model with a forward pass of its own."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return super().call(inputs, training=training, mask=mask) * 2


@pytest.mark.parametrize(
    ("build", "message", "hint"),
    [
        (lambda: Forgets(2, 3.0), r"\(Forgets\) has another scale", "let Forgets.get_config"),
        (lambda: as_model(Doubles), r"\(Doubles\) cannot be rebuilt", "let Doubles.__init__ take inputs"),
        (lambda: keras.Sequential([as_model(Star)]), r"\(Star\) cannot be rebuilt", "let Star.__init__ take"),
    ],
)
def test_a_model_that_cannot_be_rebuilt_is_named(build: Any, message: str, hint: str) -> None:
    model = build()
    model.compile("adam", "mse")
    model(ROWS)
    with pytest.raises(BadDataError, match=message) as raised:
        code.check_savable(model, ROWS)
    assert hint in raised.value.hint
    assert "\n" not in raised.value.message + raised.value.hint


def as_model(kind: Any) -> Any:
    inputs = keras.Input((4,))
    return kind(inputs, keras.layers.Dense(1)(inputs))


def test_the_check_draws_no_random_number_of_the_training() -> None:
    class Jitter(keras.layers.Layer):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.generator = keras.random.SeedGenerator(1)

        def call(self, inputs: Any) -> Any:
            return inputs + keras.random.normal(keras.ops.shape(inputs), seed=self.generator)

    model = keras.Sequential([keras.Input((4,)), Jitter()])
    model.compile("adam", "mse")
    before = np.array(model.layers[0].generator.state)
    code.check_savable(model, ROWS)
    np.testing.assert_array_equal(model.layers[0].generator.state, before)
