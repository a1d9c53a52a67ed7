"""What a location in the database means: several may name the same bytes."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from mlctl.domain.server import ServerLocation


def base(place: ServerLocation) -> PurePosixPath:
    """Return where a server keeps its artifacts, as `of` names it."""
    return PurePosixPath(place.bucket.uri if place.bucket else os.path.realpath(place.folder))


def of(location: str, place: ServerLocation) -> PurePosixPath:
    """Return the one name of the place that a location means.

    A folder's is its absolute path without links; a bucket's begins with `s3:`; any other store's is as it was
    written. Only a folder's is absolute.
    """
    if location.startswith("mlflow-artifacts:"):
        return base(place) / unquote(urlsplit(location).path).strip("/")
    path = unquote(urlsplit(location).path) if location.startswith("file:") else location
    if path.startswith(("/", ".")):
        return PurePosixPath(os.path.realpath(place.root / path))
    return PurePosixPath(location)
