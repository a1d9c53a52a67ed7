"""Fetch the files of the model that MODEL names to this machine."""

from __future__ import annotations

from pathlib import Path

from mlctl.adapters.models.load import fetch_files
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.registry import ModelReference
from mlctl.services.models.select import resolve_model
from mlctl.serving.endpoint_spec import ServedVersion


def reference_name(reference: ModelReference, model: str) -> str:
    """Return a short name of the model that MODEL names: its registered name, its run's id, or its folder."""
    return reference.name or (reference.run_id or "")[:8] or Path(model).name


def fetch_model(store: TrackingStore, model: str, scratch: Path) -> ServedVersion:
    """Return the model that MODEL names. Download its files into `scratch` if they are not on this machine.

    Raises what `resolve_model` raises, and BadDataError if the files cannot be downloaded.
    """
    return fetch_reference(store, resolve_model(store, model), model, scratch)


def fetch_reference(
    store: TrackingStore, reference: ModelReference, model: str, scratch: Path
) -> ServedVersion:
    """Return a model that was resolved already, as `fetch_model` does."""
    folder = scratch / f"model-{reference.version or 'unversioned'}"
    folder.mkdir(exist_ok=True)
    return ServedVersion(
        name=reference_name(reference, model),
        version=reference.version or "",
        uri=reference.uri,
        folder=str(fetch_files(store, reference.uri, folder)),
    )
