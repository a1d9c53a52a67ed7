"""Finding a recipe by its name, by its file, or for a user's own data."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from mlctl.domain.recipes import RecipeInfo
from mlctl.errors import BadDataError, NotFoundError, UsageError, did_you_mean
from mlctl.recipes.recipe import Recipe

# The built-in recipes: to add one, write its file and add its line.
BUILTIN = {
    "digits": "mlctl.recipes.digits:Digits",
    "housing": "mlctl.recipes.housing:Housing",
    "images": "mlctl.recipes.images:Images",
    "imdb": "mlctl.recipes.imdb:Imdb",
    "mnist": "mlctl.recipes.mnist:Mnist",
    "mnist-mlp": "mlctl.recipes.mnist_mlp:MnistMlp",
    "tabular": "mlctl.recipes.tabular:Tabular",
    "texts": "mlctl.recipes.texts:Texts",
}
GROUP = "mlctl.recipes"  # the entry point group of recipes in other packages


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe, with the user's own file or folder that it was chosen for, if it was chosen for one."""

    recipe: Recipe
    own_data: str | None = None


def list_recipes() -> list[RecipeInfo]:
    """Return every installed recipe without importing one: the summary is read from its source."""
    return [
        RecipeInfo(name, _summary(point), "built in" if name in BUILTIN else _package(point))
        for name, point in sorted(_installed().items())
    ]


def names() -> list[str]:
    """Return the name of every installed recipe."""
    return sorted(_installed())


def find(source: str) -> Recipe:
    """Return the recipe of this name, of this file (`wine.py`, `wine.py:Wine`), or for a user's own data.

    Raises as `resolve` does.
    """
    return resolve(source).recipe


def resolve(source: str) -> ResolvedRecipe:
    """Return the recipe of this name or file; for a user's own data, the recipe that fits it and the data.

    A recipe file is executed each time. Raises NotFoundError with the nearest name, BadDataError with the
    file's own line if the file fails.
    """
    path, _, class_name = source.rpartition(":") if ".py:" in source else (source, "", "")
    if path.endswith(".py"):
        return ResolvedRecipe(_load_file(Path(path), class_name))
    installed = _installed()
    if source in installed:
        return ResolvedRecipe(_instantiate(installed[source].load(), installed[source].value))
    from mlctl.recipes import match_data  # imports numpy, which a list of recipes does not need

    name = match_data.recipe_for(source)
    if name is None:
        near = did_you_mean(source, installed)
        hint = near or f"there are: {', '.join(sorted(installed))}; or give a recipe file, or your own data"
        raise NotFoundError(f"there is no recipe {source!r}", hint)
    return ResolvedRecipe(find(name), source)


def error_location(path: Path, error: BaseException) -> str:
    """Return "FILE, line N" of the innermost frame of `error` that is in this file."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).resolve() == path.resolve():
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{path}, line {line}" if line else str(path)


def _installed() -> dict[str, EntryPoint]:
    """Return every installed recipe by name; another package cannot replace a built-in recipe."""
    others = {point.name: point for point in entry_points(group=GROUP)}
    return others | {name: EntryPoint(name, value, GROUP) for name, value in BUILTIN.items()}


def _package(point: EntryPoint) -> str:
    return point.dist.metadata["Name"] if point.dist else ""


def _summary(point: EntryPoint) -> str:
    """Return the first line of the class's docstring, from the text of its file."""
    package = importlib.util.find_spec(point.module.partition(".")[0])
    if package is None or package.origin is None:
        return ""
    file = Path(package.origin).parent.joinpath(*point.module.split(".")[1:]).with_suffix(".py")
    if not file.is_file():
        return ""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == point.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _load_file(path: Path, class_name: str) -> Recipe:
    if not path.is_file():
        raise NotFoundError(
            f"there is no recipe file {path}", "start from a built-in one: mlctl recipes copy mnist ./mine.py"
        )
    recipes = {recipe.__name__: recipe for recipe in _recipes_in(_execute(path))}
    if class_name and class_name not in recipes:
        hint = did_you_mean(class_name, recipes) or f"it has: {', '.join(recipes) or 'none'}"
        raise NotFoundError(f"{path} has no recipe {class_name!r}", hint)
    if not recipes:
        raise BadDataError(
            f"{path} declares no recipe", "write a class that derives from mlctl.recipes.Recipe"
        )
    if not class_name and len(recipes) > 1:
        raise UsageError(
            f"{path} declares several recipes: {', '.join(recipes)}",
            f"choose one: {path}:{next(iter(recipes))}",
        )
    return _instantiate(recipes[class_name or next(iter(recipes))], str(path))


def _execute(path: Path) -> ModuleType:
    name = f"mlctl_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadDataError(f"{path} is not a Python file", "name a recipe file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that its classes can be pickled and inspected
    try:
        spec.loader.exec_module(module)
    except SyntaxError as exc:
        raise BadDataError(f"{path}, line {exc.lineno}: {exc.msg}", "fix the recipe") from exc
    except Exception as exc:
        location = error_location(path, exc)
        raise BadDataError(f"{location}: {type(exc).__name__}: {exc}", "fix the recipe") from exc
    return module


def _recipes_in(module: ModuleType) -> Iterator[type[Recipe]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Recipe) and value.__module__ == module.__name__:
            yield value


def _instantiate(recipe: Any, declared_in: str) -> Recipe:
    if not (isinstance(recipe, type) and issubclass(recipe, Recipe)):
        raise BadDataError(f"{declared_in} is not a recipe", "derive it from mlctl.recipes.Recipe")
    if not recipe.name:
        recipe.name = recipe.__name__.lower()
    return recipe()
