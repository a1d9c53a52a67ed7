"""The defaults of recipes in mlctl.toml, and checks of them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlctl.errors import ConfigurationError, MlctlError, UsageError, did_you_mean
from mlctl.recipes import Recipe, find, names
from mlctl.settings import PROJECT_FILE, Settings

# the names that a recipe file gives its recipes: by `name = "wine"`, else by the class
NAMES_IN_FILE = re.compile(r"""^[ \t]+name\b[^=\n]*=\s*["']([^"']+)["']|^class\s+(\w+)\s*\(""", re.MULTILINE)
MAX_DEPTH = 3  # of the folders below the project's that are searched for recipe files


def with_defaults(settings: Settings, recipe: Recipe, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's overrides over the defaults that mlctl.toml has for this recipe ([recipes.NAME]).

    Raises ConfigurationError if the recipe declares no such value or the value is invalid, and if there is no
    recipe of a NAME: its defaults would be ignored silently.
    """
    for error in _unknown_recipes(settings, recipe.name):
        raise error
    return {**_defaults(settings, recipe), **overrides}


def faults(settings: Settings) -> Iterator[MlctlError]:
    """Yield what is wrong in any [recipes.NAME]; values for a recipe file are checked when it is trained."""
    yield from _unknown_recipes(settings, "")
    for name in settings.recipes.keys() & set(names()):
        try:
            _defaults(settings, find(name))
        except MlctlError as error:
            yield error


def _defaults(settings: Settings, recipe: Recipe) -> dict[str, str]:
    defaults = {name: str(value) for name, value in settings.recipes.get(recipe.name, {}).items()}
    try:
        recipe.values(defaults)
    except UsageError as exc:
        file = settings.sources.get(f"recipes.{recipe.name}", PROJECT_FILE)
        raise ConfigurationError(f"{file}, [recipes.{recipe.name}]: {exc.message}", exc.hint) from exc
    return defaults


def _unknown_recipes(settings: Settings, known: str) -> Iterator[ConfigurationError]:
    """Yield an error for each [recipes.NAME] that is neither installed, nor in a project file, nor `known`.

    The user's config.toml is for all projects, and may mean a recipe file of another one: there, only a name
    that is close to a known one is an error.
    """
    installed = names()
    unknown = [name for name in settings.recipes if name not in installed and name != known]
    for name in unknown:
        file = Path(settings.sources.get(f"recipes.{name}", PROJECT_FILE))
        in_project = file.name == PROJECT_FILE
        in_files = _names_in_files(file.parent) if in_project else set()
        suggestion = did_you_mean(name, [*installed, *in_files])
        if name not in in_files and (in_project or suggestion):
            available = ", ".join(sorted({*installed, *in_files}))
            yield ConfigurationError(
                f"{file}, [recipes.{name}]: there is no recipe {name!r}, here or installed",
                suggestion or f"there are: {available}",
            )


def _names_in_files(folder: Path) -> set[str]:
    """Return the names of the recipes in a project's files, read as text: nothing is imported."""
    recipe_names = set()
    for path, subfolders, files in os.walk(folder):
        too_deep = len(Path(path).relative_to(folder).parts) >= MAX_DEPTH
        is_venv = "pyvenv.cfg" in files
        subfolders[:] = [] if too_deep or is_venv else [name for name in subfolders if name[0] != "."]
        for file in files:
            if is_venv or not file.endswith(".py"):
                continue
            text = Path(path, file).read_text(encoding="utf-8", errors="replace")
            if "Recipe" in text:
                recipe_names |= {
                    name or class_name.lower() for name, class_name in NAMES_IN_FILE.findall(text)
                }
    return recipe_names
