"""What has changed since a run started: the recipe's code, installed versions, the data."""

from __future__ import annotations

import re
from pathlib import Path

from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.sources.locate import sha256
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.tags import RECIPE_SHA256_TAG, VERSION_PREFIX
from mlctl.errors import RefusedError
from mlctl.recipes import ResolvedRecipe, resolve
from mlctl.services.recipes.prepare import PreparedData


def resolve_recipe(
    store: TrackingStore, run: Run, source: str, folder: Path
) -> tuple[str, ResolvedRecipe, list[str]]:
    """Find the recipe that a run was made with; return its source, the recipe, and the file if it has changed.

    If the recipe's file is gone, the run's own copy of it is downloaded to `folder`.
    """
    file = re.fullmatch(r"(.*\.py)(:\w+)?", source)
    if file and not Path(file[1]).exists():
        folder.mkdir(parents=True, exist_ok=True)
        source = f"{store.download_artifact(run, 'recipe.py', folder / 'recipe')}{file[2] or ''}"
        return source, resolve(source), []
    resolved = resolve(source)
    path = resolved.recipe.source_file()
    unchanged = run.tags.get(RECIPE_SHA256_TAG) == sha256([path])
    return source, resolved, [] if unchanged else [f"code ({path})"]


def version_changes(run: Run) -> list[str]:
    """Return what is installed in another version than the run was made with."""
    installed = provenance.version_tags()
    recorded = {name: value for name, value in run.tags.items() if name.startswith(VERSION_PREFIX)}
    return [
        f"{name.removeprefix('mlctl.version.')} ({recorded[name]} then, {version} now)"
        for name, version in installed.items()
        if name in recorded and recorded[name] != version
    ]


def data_changes(run: Run, prepared: PreparedData) -> list[str]:
    """Return the data if it is not what the run was made from."""
    digest = prepared.data.sha256
    if run.data is None or run.data.sha256 == digest:
        return []
    return [f"data (SHA-256 {run.data.sha256[:12]} then, {digest[:12]} now)"]


def accept_changes(changes: list[str], *, force: bool, listener: ProgressListener) -> dict[str, str]:
    """Return the tags that record accepted changes; raises RefusedError for any change without `force`."""
    if not changes:
        return {}
    text = "; ".join(changes)
    if not force:
        raise RefusedError(f"since the run started, this has changed: {text}", "resume it anyway: --force")
    listener.message(f"resuming although this has changed: {text}")
    return {"mlctl.resumed_in_spite_of": text}
