"""What the built-in recipes declare and build."""

from __future__ import annotations

import numpy as np
import pytest

from mlctl.data.dataset import Dataset, Split
from mlctl.errors import UsageError
from mlctl.recipes import find


@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters"),
    [
        ("imdb", (30_000,), 2, 1_505_201),
        ("mnist-cnn", (28, 28, 1), 10, 1_199_882),
        ("mnist", (28, 28, 1), 10, 188_234),
    ],
)
def test_models_have_the_published_number_of_parameters(
    name: str, shape: tuple[int, ...], classes: int, parameters: int
) -> None:
    recipe = find(name)
    empty = Split(np.zeros((1, *shape)), np.zeros(1))
    data = Dataset(name, empty, empty, classes=tuple(map(str, range(classes))), input_shape=shape)
    model = recipe.build(recipe.values({}), data)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == parameters
    assert model.count_params() == parameters


@pytest.mark.unit
def test_the_published_defaults() -> None:
    imdb, mnist = find("imdb").values({}), find("mnist-cnn").values({"learning_rate": "0.01"})
    assert (imdb.learning_rate, imdb.batch_size, imdb.epochs) == (0.01, 500, 10)
    assert str(find("imdb").objective) == "max:val_f1"
    assert (mnist.learning_rate, mnist.batch_size) == (0.01, 1024)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("digits", {"units": "8"}, "below its bound 16"),
        ("digits", {"units": "1000"}, "above its bound 256"),
        ("digits", {"units": "12.5"}, "not a whole number"),
        ("digits", {"dropout": "a lot"}, "not a number"),
        ("digits", {"dropout": "nan"}, "below its bound 0"),
        ("digits", {"learning_rate": "0"}, "below its bound 1e-08"),
        ("digits", {"epochs": "0"}, "below its bound 1"),
        ("digits", {"unit": "16"}, "declares no 'unit'"),
        ("mnist-mlp", {"optimizer": "adamm"}, "is not one of adam, rmsprop, sgd"),
    ],
)
def test_an_invalid_value_names_its_bound(recipe: str, overrides: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(recipe).values(overrides)
    assert message in caught.value.message
    assert caught.value.hint
