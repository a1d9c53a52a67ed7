import math

import pytest

from mlctl.errors import UsageError
from mlctl.recipes import find
from mlctl.services.tuning.space import size, space


def dimensions(recipe: str, given: dict[str, str], typed: dict[str, str]):
    found, fixed = space(find(recipe), given, typed)
    return {one.name: one.words for one in found}, fixed


def test_a_space_is_what_the_recipe_declares_with_epochs_batches_and_data_left_alone():
    found, fixed = dimensions("mnist-mlp", {}, {})
    assert found == {
        "learning_rate": "0.0001..0.01:log",
        "units": "16..512:16",
        "optimizer": "adam|rmsprop|sgd",
        "loss": "sparse_categorical_crossentropy|mean_squared_error|kl_divergence",
    }
    assert fixed == {"epochs": 10, "batch_size": 128, "schedule": "constant", "split_seed": 7}


def test_a_space_is_narrowed_widened_and_fixed():
    found, fixed = dimensions(
        "mnist-mlp",
        {"loss": "kl_divergence"},
        {"units": "16..64:16", "optimizer": "rmsprop|adam", "batch_size": "64|128", "learning_rate": "0.002"},
    )
    assert found == {"batch_size": "64|128", "units": "16..64:16", "optimizer": "rmsprop|adam"}
    assert (fixed["loss"], fixed["learning_rate"]) == ("kl_divergence", 0.002)


def test_the_size_of_a_space_is_the_product_of_its_dimensions():
    found, _ = space(
        find("housing"), {"learning_rate": "0.003"}, {"units": "2..12:2", "units2": "2|4", "layers": "2"}
    )
    assert size(found) == 12
    found, _ = space(find("housing"), {}, {})
    assert size(found) == math.inf


@pytest.mark.parametrize(
    ("typed", "first"), [("8..128:16", 120), ("8..120:16", 8), ("16..64:16", 16), ("120..130:4", 128)]
)
def test_a_default_between_steps_begins_at_the_nearest_that_is_in_the_range(typed, first):
    found, _ = space(find("housing"), {}, {"units": typed})
    units = next(one for one in found if one.name == "units")
    assert units.default == first


@pytest.mark.parametrize(
    ("given", "typed", "said"),
    [
        ({}, {"unitz": "16..64"}, "declares no 'unitz'"),
        ({"units": "64"}, {"units": "16..64"}, "both fixed"),
        ({}, {"split_seed": "1|2"}, "option of the data"),
        ({}, {"units": "16..1024"}, "above its bound"),
        ({}, {"units": "64..16"}, "no values between"),
        ({}, {"units": "16..64:0.5"}, "no step"),
        ({}, {"optimizer": "1..2"}, "is a range"),
        ({}, {"optimizer": "adam|lion"}, "not one of"),
        ({"units": "64", "learning_rate": "1e-3", "loss": "kl_divergence"}, {"optimizer": "adam"}, "nothing is left"),
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_is_refused_in_words(given, typed, said):
    with pytest.raises(UsageError, match=said):
        space(find("mnist-mlp"), given, typed)
