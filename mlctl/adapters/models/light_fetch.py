"""Fetch a model's files without importing MLflow, from a folder of this machine or through a tracking server."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from mlctl.adapters.tracking.clients.local_artifacts import local_folder
from mlctl.adapters.tracking.clients.rest_client import RestClient
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import BadDataError

LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-f]{32})(?:/(.*))?")
VERSION = re.compile(r"models:/([^/]+)/(\d+)(/.*)?")
OF_RUN = re.compile(r"runs:/([0-9a-f]{32})/(.+)")
MAX_HOPS = 5  # of a version that was registered from a version


def fetch(store: TrackingStore, uri: str, folder: Path) -> Path | None:
    """Copy what a URI names into `folder`, and return the copy: the folder, or a file in it.

    The files of an artifact store on this disk are copied, too: loading a model compiles its code beside it.
    None: only MLflow can fetch it. Raises BadDataError if a folder of this machine is gone.
    """
    location = _locate(store, uri)
    if location is None:
        return None
    local = local_folder(location)
    if local is not None:
        if local.is_dir():
            return Path(shutil.copytree(local, folder, dirs_exist_ok=True))
        if local.exists():
            return Path(shutil.copy2(local, folder))
        if OF_RUN.match(uri):  # of MLflow 3, which keeps a run's model elsewhere
            return None
        raise BadDataError(
            f"the files of {uri} cannot be downloaded: there is no {local}", "check the run's artifact store"
        )
    parts = urlsplit(location)
    if parts.scheme == "mlflow-artifacts" and not parts.netloc and isinstance(store.client, RestClient):
        return _download(store.client, parts.path.strip("/"), folder)
    return None


def _locate(store: TrackingStore, uri: str) -> str | None:
    """Return where the artifact store keeps what a URI names; None if this is not known."""
    for _ in range(MAX_HOPS):
        if match := VERSION.fullmatch(uri):
            uri = store.client.get_model_version(match[1], match[2]).source + (match[3] or "")
        elif match := LOGGED_MODEL.fullmatch(uri):
            location = store.client.get_logged_model(match[1]).artifact_location
            return f"{location}/{match[2]}" if match[2] else str(location)
        elif match := OF_RUN.fullmatch(uri):
            return f"{store.client.get_run(match[1]).info.artifact_uri}/{match[2]}"
        else:
            return uri if local_folder(uri) else None
    return None


def _download(client: RestClient, path: str, folder: Path) -> Path | None:
    """Copy a file, or all files of a folder, that a server keeps; return the copy; None if there is nothing."""
    target = folder / Path(path).name
    files = client.list_proxied(path)
    if not files:
        return client.download_proxied(path, target)
    for file in files:
        copy = folder / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        if client.download_proxied(f"{path}/{file}", copy) is None:
            return None
    return folder
