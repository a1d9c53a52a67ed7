"""What has changed since a run began: its recipe's code, what is installed, its data."""

from __future__ import annotations

import re
from pathlib import Path

from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.sources.locate import sha256
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.errors import RefusedError
from mlctl.services.recipes import prepare
from mlctl.settings import Settings


def recipe_source(settings: Settings, run: Run, source: str, folder: Path, changed: list[str]) -> str:
    """Return the recipe to go on with: the file it was made with, or the copy that the run keeps of it.

    Notes in `changed` where the file is not what it was.
    """
    named = re.fullmatch(r"(.*\.py)(:\w+)?", source)
    if named and not Path(named[1]).exists():
        folder.mkdir(parents=True, exist_ok=True)
        copy = TrackingStore(settings.tracking_uri).download(run, "recipe.py", folder / "recipe")
        return str(copy) + (named[2] or "")
    recipe = prepare.recipe_values(source, {})[0]
    if run.tags.get("mlctl.recipe_sha256") != sha256([recipe.source_file()]):
        changed.append(f"code ({recipe.source_file()})")
    return source


def versions_changed(run: Run) -> list[str]:
    """Return what is installed in another version than the run was made with."""
    now = provenance.versions()
    then = {name: value for name, value in run.tags.items() if name.startswith("mlctl.version.")}
    return [
        f"{name.removeprefix('mlctl.version.')} ({then[name]} then, {value} now)"
        for name, value in now.items()
        if name in then and then[name] != value
    ]


def data_changed(run: Run, prepared: prepare.PreparedData) -> list[str]:
    """Return that the data is another than the run was made from, where it is."""
    now = prepared.data.sha256
    if run.data is None or run.data.sha256 == now:
        return []
    return [f"data (SHA-256 {run.data.sha256[:12]} then, {now[:12]} now)"]


def accepted(changed: list[str], force: bool, listener: ProgressListener) -> dict[str, str]:
    """Return the tags that tell of going on in spite of changes; raises RefusedError for any without `force`."""
    if not changed:
        return {}
    said = "; ".join(changed)
    if not force:
        raise RefusedError(f"since the run began this has changed: {said}", "go on all the same: --force")
    listener.message(f"going on in spite of: {said}")
    return {"mlctl.resumed_in_spite_of": said}
