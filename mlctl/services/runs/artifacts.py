"""The files of a run: listing them and copying them here."""

from __future__ import annotations

from pathlib import Path

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run_queries import ArtifactList, DownloadedArtifact
from mlctl.errors import NotFoundError, did_you_mean
from mlctl.services.runs.select import find


def list_artifacts(tracking_uri: str, selector: str, experiment: str | None = None) -> ArtifactList:
    """Return every file of a run."""
    store = TrackingStore(tracking_uri)
    run = find(store, selector, experiment)
    return ArtifactList(run, store.artifacts(run))


def fetch(
    tracking_uri: str, selector: str, path: str, to: Path, experiment: str | None = None
) -> DownloadedArtifact:
    """Copy a file or a folder of a run into the folder `to`, under its own last name."""
    store = TrackingStore(tracking_uri)
    run = find(store, selector, experiment)
    path = path.strip("/")
    known = [one.path for one in store.artifacts(run)]
    if path not in known:
        near = did_you_mean(path, known) or f"mlctl runs artifacts {run.run_name} shows what there is"
        raise NotFoundError(f"run {run.run_name} has no artifact {path!r}", near)
    return DownloadedArtifact(run, path, str(store.download(run, path, to)))
