"""What has changed since a run started: the recipe's code, installed versions, the data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.sources.locate import sha256
from mlctl.domain.environment import VERSION
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.tags import RECIPE_SHA256_TAG
from mlctl.errors import BadDataError, RefusedError
from mlctl.recipes import ResolvedRecipe, resolve
from mlctl.services.recipes.prepare import PreparedData
from mlctl.services.training import code_files


def resolve_recipe(
    store: TrackingStore, run: Run, source: str, folder: Path
) -> tuple[str, ResolvedRecipe, list[str]]:
    """Find the recipe that a run was made with; return its source, the recipe, and the files that have changed.

    If the recipe's file or a module beside it is gone, the run's own copy of all of them is downloaded to `folder`.
    """
    changed: list[str] = []
    if file := re.fullmatch(r"(.*\.py)(:\w+)?", source):
        path = Path(file[1])
        if code_files.is_missing(run, path):
            path = code_files.restore(store, run, path.name, folder / "recipe")
            source = f"{path}{file[2] or ''}"
        changed = [f"code ({name})" for name in code_files.changed_modules(run, path)]
    try:
        resolved = resolve(source)
    except BadDataError as error:
        if changed:  # a module that has changed may lack what the recipe imports
            raise RefusedError(_in_words(changed), f"{error.message}: {error.hint}") from error
        raise
    path = resolved.recipe.source_file()
    if run.tags.get(RECIPE_SHA256_TAG) != sha256([path]):
        changed.insert(0, f"code ({path})")
    return source, resolved, changed


def version_changes(environment: Mapping[str, str]) -> list[str]:
    """Return what is installed in another version than in the environment of a run."""
    return [
        f"{name} ({environment[VERSION + name]} then, {version} now)"
        for name, version in provenance.versions().items()
        if environment.get(VERSION + name, version) != version
    ]


def data_changes(run: Run, prepared: PreparedData) -> list[str]:
    """Return the data, or the files of it, if they are not what the run was made from."""
    then, now = run.data, prepared.reference
    if then is None or not then.sha256:  # runs of earlier versions may have no digest
        return []
    files = [f"data ({name})" for name in then.files if now.files.get(name, "") not in {"", then.files[name]}]
    if files or then.sha256 == now.sha256:
        return files
    return [f"data (SHA-256 {then.sha256[:12]} then, {now.sha256[:12]} now)"]


def accept_changes(changes: list[str], *, force: bool, listener: ProgressListener) -> dict[str, str]:
    """Return the tags that record accepted changes; raises RefusedError for any change without `force`."""
    if not changes:
        return {}
    if not force:
        raise RefusedError(_in_words(changes), "resume it anyway: --force")
    text = "; ".join(changes)
    listener.message(f"resuming although this has changed: {text}")
    return {"mlctl.resumed_in_spite_of": text}


def _in_words(changes: list[str]) -> str:
    return f"since the run started, this has changed: {'; '.join(changes)}"
