"""The defaults that mlctl.toml has for recipes, and what is wrong with them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlctl.errors import ConfigurationError, MlctlError, UsageError, did_you_mean
from mlctl.recipes import Recipe, find, names
from mlctl.settings import PROJECT_FILE, Settings

# what a recipe file calls its recipes: by `name = "wine"`, else by the class
CALLED = re.compile(r"""^[ \t]+name\b[^=\n]*=\s*["']([^"']+)["']|^class\s+(\w+)\s*\(""", re.MULTILINE)
DEEPEST = 3  # folders below the project's in which a recipe file is looked for


def with_defaults(settings: Settings, source: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was set, over the defaults that mlctl.toml has for this recipe ([recipes.NAME]).

    Raises ConfigurationError where the recipe declares no such value, or it cannot be, and where there is no
    recipe of a NAME: nobody would ever be told that the defaults under it are not used.
    """
    recipe = find(source)
    for error in _unknown(settings, recipe.name):
        raise error
    return {**_told(settings, recipe), **given}


def faults(settings: Settings) -> Iterator[MlctlError]:
    """Yield what is wrong in any [recipes.NAME]; the values of a recipe file are seen when it is trained."""
    yield from _unknown(settings, "")
    for name in settings.recipes.keys() & set(names()):
        try:
            _told(settings, find(name))
        except MlctlError as error:
            yield error


def _told(settings: Settings, recipe: Recipe) -> dict[str, str]:
    told = {name: str(value) for name, value in settings.recipes.get(recipe.name, {}).items()}
    try:
        recipe.values(told)
    except UsageError as exc:
        where = settings.sources.get(f"recipes.{recipe.name}", PROJECT_FILE)
        raise ConfigurationError(f"{where}, [recipes.{recipe.name}]: {exc.message}", exc.hint) from exc
    return told


def _unknown(settings: Settings, known: str) -> Iterator[ConfigurationError]:
    """Yield an error for each [recipes.NAME] that is neither installed, nor in a file of the project, nor `known`.

    A user's own config.toml is for all projects, and may mean a file in another: there, a near name is wanted.
    """
    installed = names()
    strange = [name for name in settings.recipes if name not in installed and name != known]
    for name in strange:
        where = Path(settings.sources.get(f"recipes.{name}", PROJECT_FILE))
        of_project = where.name == PROJECT_FILE
        written = _written(where.parent) if of_project else set()
        near = did_you_mean(name, [*installed, *written])
        if name not in written and (of_project or near):
            there = ", ".join(sorted({*installed, *written}))
            yield ConfigurationError(
                f"{where}, [recipes.{name}]: there is no recipe {name!r}, here or installed",
                near or f"there are: {there}",
            )


def _written(folder: Path) -> set[str]:
    """Return the names that recipe files of a project give their recipes, read as text: nothing is imported."""
    found = set()
    for at, inner, files in os.walk(folder):
        deep = len(Path(at).relative_to(folder).parts) >= DEEPEST
        inner[:] = [] if deep or "pyvenv.cfg" in files else [one for one in inner if not one.startswith(".")]
        for file in files if "pyvenv.cfg" not in files else ():
            text = (
                Path(at, file).read_text(encoding="utf-8", errors="replace") if file.endswith(".py") else ""
            )
            if "Recipe" in text:
                found |= {name or own.lower() for name, own in CALLED.findall(text)}
    return found
