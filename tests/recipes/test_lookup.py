"""Finding recipes: built-in ones, recipe files, other packages, and the user's own data."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mlctl.domain.objective import Objective
from mlctl.domain.progress import NullProgress
from mlctl.errors import BadDataError, NotFoundError, UsageError
from mlctl.recipes import find, list_recipes, lookup, names, resolve
from mlctl.services.recipes.prepare import check_values, prepare
from mlctl.settings import load

WINE = '''
from mlctl.recipes import Dataset, Recipe, Split, maximize


class Wine(Recipe):
    """Three sorts of wine"""

    objective = maximize("val_accuracy")
'''


@pytest.mark.unit
def test_every_file_with_a_builtin_recipe_is_listed() -> None:
    folder = Path(lookup.__file__).parent
    declaring = {
        file.stem for file in folder.glob("*.py") if "(Recipe):" in file.read_text() and file.stem != "recipe"
    } | {"mnist_cnn", "mnist_mlp"}
    assert {value.partition(":")[0].rpartition(".")[2] for value in lookup.BUILTIN.values()} == declaring
    for name in lookup.BUILTIN:
        assert find(name).name == name


@pytest.mark.unit
def test_a_builtin_recipe_needs_one_file_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_wine_recipe.py").write_text(WINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(lookup.BUILTIN, "wine", "my_wine_recipe:Wine")
    assert "wine" in names()
    assert type(find("wine")).__name__ == "Wine"


@pytest.mark.unit
def test_a_recipe_of_another_package_is_listed_and_does_not_replace_a_builtin_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = [
        EntryPoint("wine", "mlctl.recipes.digits:Digits", lookup.GROUP),
        EntryPoint("mnist", "mlctl.recipes.digits:Digits", lookup.GROUP),
    ]
    monkeypatch.setattr(lookup, "entry_points", lambda group: points)
    origins = {recipe.name: recipe.origin for recipe in list_recipes()}
    assert origins["mnist"] == origins["digits"] == "built in"
    assert origins["wine"] == ""
    assert type(find("mnist")).__name__ == "Mnist"


def test_a_list_of_recipes_loads_no_heavy_library() -> None:
    program = "import sys; from mlctl.recipes import list_recipes; assert list_recipes(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"numpy", "pandas", "keras", "tensorflow", "mlflow", "sklearn", "boto3"}
    assert not heavy & {module.partition(".")[0] for module in done.stdout.split()}


@pytest.mark.unit
def test_a_recipe_file_can_declare_several_recipes(tmp_path: Path) -> None:
    file = tmp_path / "two.py"
    file.write_text(f"{WINE}\n\nclass Beer(Recipe):\n    name = 'beer'\n")
    with pytest.raises(UsageError, match="declares several recipes: Wine, Beer"):
        find(str(file))
    assert find(f"{file}:Beer").name == "beer"
    with pytest.raises(NotFoundError, match="has no recipe 'Bear'"):
        find(f"{file}:Bear")


@pytest.mark.unit
def test_a_recipe_without_a_method_is_reported_in_one_line_with_a_hint(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("from mlctl.recipes import Recipe\n\nclass Empty(Recipe):\n    name = 'empty'\n")
    resolved = resolve(str(file))
    values = check_values(resolved, {})
    with pytest.raises(BadDataError) as raised:
        prepare(load(), resolved, values, listener=NullProgress())
    assert raised.value.message == f"{file}: recipe empty has no load()"
    assert raised.value.hint.startswith("write load(self, source)")
    with pytest.raises(BadDataError, match=r"recipe empty has no build\(\)"):
        resolved.recipe.build(values, None)  # type: ignore[arg-type]


@pytest.mark.unit
def test_a_recipe_is_the_same_after_load(tmp_path: Path) -> None:
    """The objective of a table and the user's own data are returned, not set on the recipe."""
    path = tmp_path / "prices.csv"
    rows = (f"{number % 7},{number % 7 * 1.5 + number % 3}" for number in range(200))
    path.write_text("\n".join(["size,price", *rows]))
    resolved = resolve(str(path))
    before = dict(vars(resolved.recipe))
    values = check_values(resolved, {"target": "price"})
    prepared = prepare(load(), resolved, values, listener=NullProgress())
    assert vars(resolved.recipe) == before == {}
    assert resolved.own_data == str(path)
    assert prepared.objective == Objective("val_rmse", maximize=False)
    assert resolved.recipe.objective == Objective("val_loss", maximize=False)
