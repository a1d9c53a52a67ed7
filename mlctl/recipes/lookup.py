"""Finding a recipe by its name, by its file, or for a user's own data."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from mlctl.domain.recipes import RecipeInfo
from mlctl.errors import BadDataError, MlctlError, NotFoundError, UsageError, did_you_mean
from mlctl.recipes import local_modules
from mlctl.recipes.declaration import check_declaration
from mlctl.recipes.recipe import Recipe

# The built-in recipes: to add one, write its file and add its line.
BUILTIN = {
    "digits": "mlctl.recipes.digits:Digits",
    "housing": "mlctl.recipes.housing:Housing",
    "images": "mlctl.recipes.images:Images",
    "imdb": "mlctl.recipes.imdb:Imdb",
    "mnist": "mlctl.recipes.mnist:Mnist",
    "mnist-cnn": "mlctl.recipes.mnist_cnn:MnistCnn",
    "mnist-mlp": "mlctl.recipes.mnist_mlp:MnistMlp",
    "tabular": "mlctl.recipes.tabular:Tabular",
    "texts": "mlctl.recipes.texts:Texts",
}
GROUP = "mlctl.recipes"  # the entry point group of recipes in other packages
import_guard: Callable[[], AbstractContextManager[None]] = (
    nullcontext  # is entered while a recipe file is executed
)
_QUOTED_LINE = re.compile(r'File "([^"]+\.py)", line (\d+)')


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


def local_sources(recipe: Recipe) -> list[Path]:
    """Return the local files that a recipe uses, sorted: its own, and the modules of its folder that it imports.

    For a built-in recipe this is its own file.
    """
    file = recipe.source_file().resolve()
    if not type(recipe).__module__.startswith(local_modules.PREFIX):
        return [file]
    return sorted({*local_modules.static_sources(file), *local_modules.other_sources(file)})


def error_location(path: Path, error: BaseException) -> str:
    """Return "FILE, line N" of the innermost frame of `error` in a recipe's file, or in a module of its folder.

    An error that TensorFlow raises for a traced function names its lines in its text only.
    """
    file, is_builtin = path.resolve(), local_modules.is_builtin(path)
    cause: BaseException | None = error
    while cause is not None:
        frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(cause.__traceback__)]
        quoted = _QUOTED_LINE.findall(str(cause))
        frames = frames + [(Path(name), int(line)) for name, line in quoted]
        for source, line in reversed(frames):
            resolved = source.resolve()
            if resolved == file:
                return f"{path}, line {line}"
            if not is_builtin and local_modules.is_in_folder(resolved, file.parent):
                return f"{path.parent / resolved.relative_to(file.parent)}, line {line}"
        cause = cause.__cause__ or cause.__context__
    return str(path)


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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it when a recipe file imports it
    try:
        with import_guard():
            return local_modules.import_recipe(path)
    except SyntaxError as exc:
        file = Path(exc.filename or path)
        shown = path if file.resolve() == path.resolve() else file
        raise BadDataError(f"{shown}, line {exc.lineno}: {exc.msg}", "fix the recipe") from exc
    except MlctlError:
        raise
    except Exception as exc:
        location = error_location(path, exc)
        cause = local_modules.without_package(str(exc))
        raise BadDataError(f"{location}: {type(exc).__name__}: {cause}", "fix the recipe") from exc


def _recipes_in(module: ModuleType) -> Iterator[type[Recipe]]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Recipe) and value.__module__ == module.__name__:
            yield value


def _instantiate(recipe: Any, declared_in: str) -> Recipe:
    if not (isinstance(recipe, type) and issubclass(recipe, Recipe)):
        raise BadDataError(f"{declared_in} is not a recipe", "derive it from mlctl.recipes.Recipe")
    if not recipe.name:
        recipe.name = recipe.__name__.lower()
    check_declaration(recipe)
    return recipe()
