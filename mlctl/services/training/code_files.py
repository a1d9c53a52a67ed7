"""The files of a recipe's code: the recipe's own and the modules beside it, as a run records and restores them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.tags import CODE_FILES_TAG
from mlctl.recipes import Recipe
from mlctl.recipes.lookup import local_sources

SCRIPT_FILE = "script.py"  # the artifact with a script's own file
RECIPE_FILE = "recipe.py"  # the artifact with the recipe's own file
CODE_FOLDER = "code"  # the artifact folder with the other files
FILE_DIGITS = 16  # of a file's digest in the run's tag


def modules_beside(recipe: Recipe) -> dict[str, Path]:
    """Return the files that a recipe imports from its own folder, by their path in it; without the recipe's file."""
    own = recipe.source_file().resolve()
    return {
        path.relative_to(own.parent).as_posix(): path
        for path in local_sources(recipe)
        if path != own and path.is_relative_to(own.parent)
    }


def digests(recipe: Recipe) -> dict[str, str]:
    """Return the digest of each module beside a recipe, by its path in the recipe's folder."""
    return {name: _digest(path) for name, path in modules_beside(recipe).items()}


def recorded_digests(run: Run) -> Mapping[str, str]:
    """Return the digests of the modules that a run was made with; {} for a run of an earlier version."""
    try:
        recorded: Mapping[str, str] = json.loads(run.tags.get(CODE_FILES_TAG, "{}"))
    except ValueError:  # anyone can edit a tag
        return {}
    return recorded


def changed_modules(run: Run, recipe_file: Path) -> list[str]:
    """Return the modules that have changed since a run was made; `recipe_file` is in their folder now."""
    return [
        name
        for name, digest in recorded_digests(run).items()
        if not (recipe_file.parent / name).is_file() or _digest(recipe_file.parent / name) != digest
    ]


def is_missing(run: Run, recipe_file: Path) -> bool:
    """Return whether the recipe's file, or a module that it was made with, is gone."""
    files = [recipe_file, *(recipe_file.parent / name for name in recorded_digests(run))]
    return not all(file.is_file() for file in files)


def restore(store: TrackingStore, run: Run, name: str, folder: Path) -> Path:
    """Download a run's copy of all code files to a folder; return the recipe's file, which gets this name."""
    folder.mkdir(parents=True, exist_ok=True)
    if recorded_digests(run):
        shutil.copytree(
            store.download_artifact(run, CODE_FOLDER, folder / "download"), folder, dirs_exist_ok=True
        )
    downloaded = store.download_artifact(run, RECIPE_FILE, folder / "download")
    return Path(shutil.copy(downloaded, folder / name))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:FILE_DIGITS]
