"""Compare artifact locations of the database: several of them may name the same bytes."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from mlctl.domain.server import ServerLocation


def base(location: ServerLocation) -> PurePosixPath:
    """Return the path under which a server stores its artifacts, in the form of `normalize`."""
    return PurePosixPath(location.remote_uri or os.path.realpath(location.folder))


def normalize(uri: str, location: ServerLocation) -> PurePosixPath:
    """Return the one path for an artifact location, whichever way it is written.

    A folder becomes its absolute path without links. A bucket's path begins with `s3:`. The location of any other
    store stays as it is written. Only the path of a folder is absolute.
    """
    if uri.startswith("mlflow-artifacts:"):
        return base(location) / unquote(urlsplit(uri).path).strip("/")
    path = unquote(urlsplit(uri).path) if uri.startswith("file:") else uri
    if path.startswith(("/", ".")):
        return PurePosixPath(os.path.realpath(location.root / path))
    return PurePosixPath(uri)
