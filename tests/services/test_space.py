"""Search spaces: what a recipe declares, narrowed, widened and fixed."""

import math

import pytest

from mlctl.domain.search_space import combinations as all_combinations
from mlctl.errors import UsageError
from mlctl.recipes import find
from mlctl.services.tuning.space import search_space, size

pytestmark = pytest.mark.unit


def texts(recipe: str, overrides: dict[str, str], typed: dict[str, str]):
    dimensions, fixed = search_space(find(recipe), overrides, typed)
    return {dimension.name: dimension.text for dimension in dimensions}, fixed


def test_a_space_is_what_the_recipe_declares_without_epochs_batch_size_and_data_options():
    dimensions, fixed = texts("mnist-mlp", {}, {})
    assert dimensions == {
        "learning_rate": "0.0001..0.01:log",
        "units": "16..512:16",
        "optimizer": "adam|rmsprop|sgd",
        "loss": "sparse_categorical_crossentropy|mean_squared_error|kl_divergence",
    }
    assert fixed == {"epochs": 10, "batch_size": 128, "schedule": "constant", "split_seed": 7}


def test_a_space_can_be_narrowed_widened_and_fixed():
    dimensions, fixed = texts(
        "mnist-mlp",
        {"loss": "kl_divergence"},
        {"units": "16..64:16", "optimizer": "rmsprop|adam", "batch_size": "64|128", "learning_rate": "0.002"},
    )
    assert dimensions == {"batch_size": "64|128", "units": "16..64:16", "optimizer": "rmsprop|adam"}
    assert (fixed["loss"], fixed["learning_rate"]) == ("kl_divergence", 0.002)


def test_the_size_of_a_space_is_the_product_of_its_dimensions():
    housing = find("housing")
    overrides, typed = {"learning_rate": "0.003"}, {"units": "2..12:2", "units2": "2|4", "layers": "2"}
    assert size(search_space(housing, overrides, typed)[0]) == 12
    assert size(search_space(housing, {}, {})[0]) == math.inf


@pytest.mark.parametrize(
    ("typed", "default"), [("8..128:16", 120), ("8..120:16", 8), ("16..64:16", 16), ("120..130:4", 128)]
)
def test_a_default_between_steps_moves_to_the_nearest_step_in_the_range(typed, default):
    dimensions, _ = search_space(find("housing"), {}, {"units": typed})
    units = next(dimension for dimension in dimensions if dimension.name == "units")
    assert units.default == default


@pytest.mark.parametrize(
    ("overrides", "typed", "message"),
    [
        ({}, {"unitz": "16..64"}, "declares no 'unitz'"),
        ({"units": "64"}, {"units": "16..64"}, "both fixed"),
        ({}, {"split_seed": "1|2"}, "option of the data"),
        ({}, {"units": "16..1024"}, "above its bound"),
        ({}, {"units": "64..16"}, "no values between"),
        ({}, {"units": "16..64:0.5"}, "no step"),
        ({}, {"optimizer": "1..2"}, "is a range"),
        ({}, {"optimizer": "adam|lion"}, "not one of"),
        (
            {"units": "64", "learning_rate": "1e-3", "loss": "kl_divergence"},
            {"optimizer": "adam"},
            "nothing is left",
        ),
    ],
)
def test_an_invalid_space_is_refused(overrides, typed, message):
    with pytest.raises(UsageError, match=message):
        search_space(find("mnist-mlp"), overrides, typed)


CONDITIONAL = """
from mlctl.recipes import Recipe, choice, hyperparameter


class Mine(Recipe):
    depth = hyperparameter(1, low=1, high=3)
    units_1 = hyperparameter(32, low=32, high=64, step=32)
    units_2 = hyperparameter(32, low=32, high=64, step=32, when="depth>=2")
    units_3 = hyperparameter(32, low=32, high=64, step=32, when="depth>=3")
    drop = choice(None, 0.5, when="units_3==64")

    def build(self, hp, data):
        return [hp[f"units_{number}"] for number in range(hp.depth)], hp.depth, hp.drop
"""


@pytest.fixture
def conditional(tmp_path):
    (tmp_path / "mine.py").write_text(CONDITIONAL)
    return find(str(tmp_path / "mine.py"))


@pytest.mark.parametrize(
    ("overrides", "typed", "names", "combinations"),
    [
        ({}, {}, ["depth", "units_1", "units_2", "units_3", "drop"], 2 + 4 + (4 + 8)),
        ({"depth": "2"}, {}, ["units_1", "units_2"], 4),
        ({"depth": "3", "units_3": "64"}, {}, ["units_1", "units_2", "drop"], 8),
        ({"units_3": "64"}, {}, ["depth", "units_1", "units_2", "drop"], 2 + 4 + 8),
        ({}, {"depth": "1..2"}, ["depth", "units_1", "units_2", "units_3", "drop"], 2 + 4),
        ({}, {"drop": "none|0.5", "units_1": "32"}, ["depth", "units_2", "units_3", "drop"], 1 + 2 + (2 + 4)),
    ],
)
def test_values_that_do_not_count_are_not_counted(conditional, overrides, typed, names, combinations):
    dimensions, fixed = search_space(conditional, overrides, typed)
    assert [dimension.name for dimension in dimensions] == names
    assert size(dimensions) == combinations == len(list(all_combinations(dimensions)))
    assert "learning_rate" in fixed
    for name, text in overrides.items():
        assert fixed[name] == int(text)


def test_a_value_that_is_never_read_is_not_searched(conditional):
    with pytest.raises(UsageError, match="search of learning_rate has no effect"):
        search_space(conditional, {}, {"learning_rate": "0.1..1"})
    values = {"depth": "1", "units_1": "32"}
    with pytest.raises(UsageError, match="nothing is left") as caught:
        search_space(conditional, values, {})
    assert "build() does not read it" in caught.value.hint
