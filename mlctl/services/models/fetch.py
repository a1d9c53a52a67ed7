"""Fetch the files of the model that MODEL names to this machine."""

from __future__ import annotations

from pathlib import Path

from mlctl.adapters.models.load import fetch_files
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.services.models.select import resolve_model
from mlctl.serving.endpoint_spec import ServedVersion


def fetch_model(store: TrackingStore, model: str, scratch: Path) -> ServedVersion:
    """Return the model that MODEL names. Download its files into `scratch` if they are not on this machine.

    Raises what `resolve_model` raises, and BadDataError if the files cannot be downloaded.
    """
    reference = resolve_model(store, model)
    folder = scratch / f"model-{reference.version or 'unversioned'}"
    folder.mkdir(exist_ok=True)
    return ServedVersion(
        name=reference.name or (reference.run_id or "")[:8] or Path(model).name,
        version=reference.version or "",
        uri=reference.uri,
        folder=str(fetch_files(store, reference.uri, folder)),
    )
