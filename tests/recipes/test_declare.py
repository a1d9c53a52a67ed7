"""What a recipe declares: hyperparameters with conditions and choices, reserved names, and what its code reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlctl.errors import BadDataError, UsageError
from mlctl.recipes import choice, find, hyperparameter
from mlctl.recipes.declaration import declaration_notes
from mlctl.recipes.declare import recorded_values
from mlctl.recipes.lookup import BUILTIN
from mlctl.recipes.reads import unread_names
from tests.recording_listener import RecordingListener

pytestmark = pytest.mark.unit

BUILD = "    def build(self, hp, data):\n        return hp.rate, {reads}\n"


def recipe_of(folder: Path, body: str, *, before: str = "") -> Any:
    """Return the recipe of a file with this class body."""
    file = folder / "mine.py"
    lines = "from mlctl.recipes import Recipe, Phase, choice, hyperparameter, option\n"
    file.write_text(
        f"{lines}{before}\n\nclass Mine(Recipe):\n    units = hyperparameter(8, low=4, high=64)\n{body}"
    )
    return find(str(file))


@pytest.mark.parametrize(
    ("text", "value"),
    [("none", None), ("None", None), ("3", 3), ("relu", "relu"), ("TRUE", True), ("0.5", 0.5)],
)
def test_a_choice_may_have_values_of_several_types(text: str, value: Any) -> None:
    parsed = choice("relu", None, 3, True, 0.5).parse("x", text)
    assert (parsed, type(parsed)) == (value, type(value))


def test_a_choice_keeps_its_type_among_equal_values() -> None:
    parameter = choice(1, True, 2.0)
    assert [type(parameter.parse("x", value)) for value in (1, True, 2.0)] == [int, bool, float]
    assert type(parameter.parse("x", "1")) is int
    assert choice((8, 4), (16,)).parse("x", [16]) == (16,)  # as JSON has it


def test_a_value_that_is_no_choice_is_refused() -> None:
    with pytest.raises(UsageError, match="x=gelu is not one of None, relu"):
        choice(None, "relu").parse("x", "gelu")


def test_a_default_without_a_type_is_refused_where_it_is_declared() -> None:
    with pytest.raises(ValueError, match="says no type"):
        hyperparameter(None)


@pytest.mark.parametrize(
    ("when", "overrides", "counts"),
    [
        ("layers>=3", {"layers": "3"}, True),
        ("layers>=3", {"layers": "2"}, False),
        ("layers > 1 & kind in a|b", {"layers": "2", "kind": "b"}, True),
        ("layers > 1 & kind in a|b", {"layers": "2", "kind": "c"}, False),
        ("kind != a", {"kind": "a"}, False),
        ("kind == 'c'", {"kind": "c"}, True),
        ("wide == yes", {"wide": "true"}, True),
        ("drop == none", {}, True),
        ("drop > 0.2", {}, False),
        ("drop > 0.2", {"drop": "0.5"}, True),
        ("epochs < 20", {}, True),
    ],
)
def test_a_hyperparameter_counts_if_its_condition_holds(
    when: str, overrides: dict[str, str], counts: bool, tmp_path: Path
) -> None:
    recipe = recipe_of(
        tmp_path,
        '    layers = hyperparameter(1, low=1, high=5)\n    kind = choice("a", "b", "c")\n'
        "    wide = hyperparameter(False)\n    drop = choice(None, 0.1, 0.5)\n"
        f'    extra = hyperparameter(16, low=8, high=64, when="{when}")\n'
        + BUILD.format(reads="hp.extra, hp.units"),
    )
    values = recipe.values({**overrides, "extra": "32"})
    assert values.extra == (32 if counts else 16)
    assert ("extra" in recorded_values(values)) == counts


def test_what_depends_on_an_inactive_hyperparameter_is_inactive(tmp_path: Path) -> None:
    recipe = recipe_of(
        tmp_path,
        "    deep = hyperparameter(False)\n"
        '    layers = hyperparameter(3, low=1, high=5, when="deep==true")\n'
        '    width = choice(8, 16, when="layers>=2")\n' + BUILD.format(reads="hp.width, hp.layers, hp.units"),
    )
    assert "width" not in recorded_values(recipe.values({"width": "16"}))
    assert recorded_values(recipe.values({"width": "16", "deep": "true"}))["width"] == 16


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("layerz>=3", "there is no hyperparameter 'layerz'"),
        ("layers", "compares no hyperparameter"),
        ("units>=many", "units>=many compares no numbers"),
        ("kind==d", "kind=d is not one of a, b"),
        ("extra>8", "leads back to extra"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(when: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadDataError, match=message):
        recipe_of(
            tmp_path,
            f'    kind = choice("a", "b")\n    extra = hyperparameter(16, low=8, high=64, when="{when}")\n'
            + BUILD.format(reads="hp.extra"),
        )


def test_rate_is_the_declared_hyperparameter(tmp_path: Path) -> None:
    recipe = recipe_of(
        tmp_path, "    rate = hyperparameter(0.5, low=0.0, high=0.9)\n" + BUILD.format(reads="hp.units")
    )
    assert recipe.values({}).rate == recipe.values({})["rate"] == 0.5
    assert "learning_rate" in unread_names(type(recipe))


@pytest.mark.parametrize(
    "name", ["on", "keys", "items", "values", "get", "steps_per_epoch", "load", "build", "scores", "phases", "name",
             "objective", "bfloat16", "declared", "seed", "precision", "_values"]
)  # fmt: skip
def test_a_name_that_means_something_else_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        BadDataError, match=rf"mine\.py: a hyperparameter cannot have the name '{name}'"
    ) as caught:
        recipe_of(tmp_path, f"    {name} = hyperparameter(2)\n")
    assert "choose another name" in str(caught.value.hint)


def test_a_class_changes_the_default_of_its_base_class(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from mlctl.recipes import Recipe, hyperparameter\n\n\n"
        "class Base(Recipe):\n    units = hyperparameter(8, low=4, high=64)\n\n"
        "    def build(self, hp, data):\n        return hp.units, hp.rate\n\n\n"
        "class Wide(Base):\n    units = 32\n"
    )
    assert find(f"{file}:Wide").values({}).units == 32


@pytest.mark.parametrize(
    ("body", "unread"),
    [
        ("    def build(self, hp, data):\n        return hp.units\n", {"learning_rate", "schedule"}),
        ("    def build(self, hp, data):\n        return hp.rate\n", {"units"}),
        ("    def build(self, hp, data):\n        return hp.learning_rate, hp['units']\n", {"schedule"}),
        ("    def build(self, p, data):\n        return p.get('learning_rate'), p['schedule'], p.units\n", set()),
        ("    def build(self, hp, data):\n        h = hp\n        return h.units, getattr(h, 'rate')\n", set()),
        ("    def build(self, hp, data):\n        return [hp[f'un{x}'] for x in ['its']]\n", {"learning_rate", "schedule"}),
        ("    def build(self, hp, data):\n        return dict(hp)\n", set()),
        ("    def build(self, hp, data):\n        return make(**hp)\n", set()),
        ("    def build(self, hp, data):\n        return make(hp)\n", {"learning_rate", "schedule"}),
        ("    def build(self, hp, data):\n        return self.net(values=hp)\n\n"
         "    def net(self, values):\n        return values.units\n", {"learning_rate", "schedule"}),
        ("    def build(self, hp, data):\n        import elsewhere\n\n        return elsewhere.make(hp)\n", set()),
        ("    def build(self, hp, data):\n        return model.optimizer.learning_rate, self.units\n",
         {"learning_rate", "schedule", "units"}),
        ("    def build(self, hp, data):\n        return lambda: hp.units\n\n"
         "    def phases(self, hp, data):\n        return [Phase(name='a', epochs=1, start=self.tune)]\n\n"
         "    def tune(self, model, given, data):\n        model.compile(given.rate)\n", set()),
        ("    def load(self, source):\n        return source.options.units\n\n"
         "    def build(self, hp, data):\n        return hp.rate\n", set()),
        ("    build = make\n", set()),
    ],
)  # fmt: skip
def test_what_no_code_of_a_recipe_reads_is_found(body: str, unread: set[str], tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, body, before="def make(hp):\n    return hp.units\n")
    assert unread_names(type(recipe)) == unread
    recorded = recorded_values(recipe.values({}))
    assert not unread & set(recorded)


def test_modules_beside_a_recipe_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text("def make(settings):\n    return settings.units, settings.rate\n")
    body = "    def build(self, hp, data):\n        return nets.make(hp)\n"
    recipe = recipe_of(tmp_path, body, before="import nets\n")
    assert unread_names(type(recipe)) == set()


@pytest.mark.parametrize("name", BUILTIN)
def test_the_builtin_recipes_read_everything(name: str) -> None:
    assert unread_names(type(find(name))) == set()
    assert declaration_notes(type(find(name))) == []


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("def fit(self, model): ...", "Mine.fit has no effect: mlctl uses no method of this name"),
        ("metrics = ['accuracy']", "Mine.metrics has no effect: mlctl uses no attribute"),
        ("sample_weight = None", "Split(inputs, targets, weights)"),
        ("class_weights = {0: 1}", "class_weight is its name"),
        ("def bild(self, hp, data): ...", "did you mean build?"),
        ("def callback(self, hp, data): ...", "callbacks(hp, data) returns a list"),
        ("learning_rat = 0.1", "did you mean learning_rate?"),
        ("def train_step(self, data): ...", "override it in a keras.Model"),
    ],
)
def test_a_name_that_mlctl_does_not_use_is_named(line: str, note: str, tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, f"    {line}\n\n" + BUILD.format(reads="hp.units"))
    (found,) = declaration_notes(type(recipe))
    assert note in found


def test_helpers_of_a_recipe_are_not_named(tmp_path: Path) -> None:
    recipe = recipe_of(
        tmp_path,
        "    SIZE = 3\n    class_weight = 'balanced'\n    name = 'mine'\n    _model = None\n\n"
        "    def build(self, hp, data):\n        return self.model(hp), self.loss\n\n"
        "    def model(self, hp):\n        return hp.units, hp.rate\n\n"
        "    @property\n    def loss(self):\n        return 'mse'\n\n"
        "    @staticmethod\n    def helper(): ...\n",
    )
    assert declaration_notes(type(recipe)) == []


def test_what_has_no_effect_is_said_before_training(tmp_path: Path) -> None:
    from mlctl.services.recipes.notes import announce_notes

    recipe = recipe_of(
        tmp_path,
        '    extra = hyperparameter(16, low=8, high=64, when="units>10")\n    spare = hyperparameter(1)\n'
        "    schedule = 'cosine'\n\n    def build(self, hp, data):\n        return hp.units, hp.extra\n",
    )
    listener, overrides = RecordingListener(), {"extra": "32"}
    announce_notes(recipe, recipe.values(overrides), overrides, listener)
    assert listener.messages == [
        "build() does not read learning_rate: it has no effect (use hp.rate in the optimizer)",
        "build() does not read hp.rate: schedule has no effect",
        "the recipe does not read spare: it has no effect (read it as hp.spare)",
        "extra=32 has no effect: it counts only if units>10",
    ]


def test_defaults_of_the_data_replace_what_nobody_has_set(tmp_path: Path) -> None:
    recipe = recipe_of(
        tmp_path,
        "    batch_size = hyperparameter(0, low=0)\n    spare = hyperparameter(1)\n",
    )
    defaults = {"batch_size": 50, "spare": 7, "epochs": 9}
    values = recipe.values({}).on(100, defaults)
    assert (values.batch_size, values.spare, values.epochs, values.steps_per_epoch) == (50, 7, 9, 2)
    chosen = recipe.values({"batch_size": "0", "spare": "2", "epochs": "3"}).on(100, defaults)
    assert (chosen.batch_size, chosen.spare, chosen.epochs) == (50, 2, 3)  # 0 is "by the data"
