"""The files of a run: listing and downloading them."""

from __future__ import annotations

from pathlib import Path

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run_queries import ArtifactList, DownloadedArtifact
from mlctl.errors import NotFoundError, did_you_mean
from mlctl.services.runs.select import find_run


def list_artifacts(tracking_uri: str, selector: str, experiment: str | None = None) -> ArtifactList:
    """Return all files of a run."""
    store = TrackingStore(tracking_uri)
    run = find_run(store, selector, experiment)
    return ArtifactList(run, store.list_artifacts(run))


def download_artifact(
    tracking_uri: str, selector: str, path: str, *, folder: Path, experiment: str | None = None
) -> DownloadedArtifact:
    """Copy a file or folder of a run into `folder`, under the last part of its path."""
    store = TrackingStore(tracking_uri)
    run = find_run(store, selector, experiment)
    path = path.strip("/")
    paths = [artifact.path for artifact in store.list_artifacts(run)]
    if path not in paths:
        suggestion = did_you_mean(path, paths) or f"to list them: mlctl runs artifacts {run.run_name}"
        raise NotFoundError(f"run {run.run_name} has no artifact {path!r}", suggestion)
    return DownloadedArtifact(run, path, str(store.download_artifact(run, path, folder)))
