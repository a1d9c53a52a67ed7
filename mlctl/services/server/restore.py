"""A backup into an empty database and an empty place for artifacts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlctl.adapters.database import connection, dump
from mlctl.adapters.storage.artifact_folder import store_of
from mlctl.domain.server import Backup, ServerLocation
from mlctl.errors import BadDataError, MlctlError, NotFoundError, RefusedError
from mlctl.services.server.backup import FORMAT, summary


def inspect(file: Path) -> tuple[Backup, dict[str, Any]]:
    """Return what a backup holds, every byte of it checked. Raises BadDataError where it is torn."""
    if not file.is_file():
        raise NotFoundError(f"{file} is not there", "name a file that mlctl server-backup has made")
    seen: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                body = tar.extractfile(member)
                if body is None:
                    raise BadDataError(
                        f"{file} holds {member.name!r}, which is no file", "it is not a backup"
                    )
                if member.name == "manifest.json":
                    manifest = json.load(body)
                else:
                    seen[member.name] = hashlib.file_digest(_Reader(body), "sha256").hexdigest()
    except (tarfile.TarError, ValueError, EOFError) as exc:
        raise BadDataError(f"{file} is torn, or is not a backup: {exc}", "take another one") from exc
    if manifest is None:
        raise BadDataError(f"{file} is torn: its end is missing", "take another one")
    if manifest.get("format") != FORMAT:
        raise BadDataError(
            f"{file} is of format {manifest.get('format')}", "restore it with the mlctl that made it"
        )
    wanted = {f"tables/{name}.jsonl": one["sha256"] for name, one in manifest["tables"].items()}
    if manifest["with_artifacts"]:
        wanted |= {f"artifacts/{key}": one["sha256"] for key, one in manifest["artifacts"].items()}
    for name in wanted.keys() | seen.keys():
        if wanted.get(name) != seen.get(name):
            raise BadDataError(f"{file} is torn: {name} is not what it was", "take another one")
    return summary(file, manifest), manifest


def restore(place: ServerLocation, file: Path) -> Backup:
    """Restore a backup; return what it held.

    All is checked before anything is changed. Artifacts come first: a database names only what is there; they
    are taken away again where the database fails, so that the same can be said again. Raises RefusedError where
    the database or the place for artifacts is not empty or the schema is another, BadDataError for a torn file
    or artifacts that are not the ones meant.
    """
    found, manifest = inspect(file)
    connection.verify(place.backend, upgrade=True)
    dump.demand_fit(place.backend, manifest["revisions"], manifest["tables"])
    store = store_of(place)
    if manifest["with_artifacts"]:
        if next(iter(store.sizes()), None) is not None:
            raise RefusedError(f"{place.destination} is not empty", "restore into an empty bucket or folder")
    else:
        _compare(place, manifest)
    put: list[str] = []
    with tarfile.open(file, "r:") as tar:
        try:
            for member in tar:
                if member.name.startswith("artifacts/"):
                    put.append(member.name.removeprefix("artifacts/"))
                    store.put(put[-1], tar.extractfile(member))
            dump.create_schema(place.backend, manifest["revisions"])
            tables = {name: _lines(tar, name) for name in manifest["tables"]}
            dump.load(place.backend, tables, _moved(manifest["bucket"], place))
        except BaseException:
            with contextlib.suppress(MlctlError):
                store.delete(put)
            raise
    return found


def _moved(bucket: str | None, place: ServerLocation) -> tuple[str, str] | None:
    """Return what clients that wrote to the bucket themselves have named, and its name now: the server's, or a bucket."""
    now = place.bucket.uri if place.bucket else "mlflow-artifacts:"
    return (bucket, now) if bucket and bucket != now else None


def _lines(tar: tarfile.TarFile, table: str) -> Iterator[bytes]:
    body = tar.extractfile(f"tables/{table}.jsonl")
    assert body
    yield from body


def _compare(place: ServerLocation, manifest: dict[str, Any]) -> None:
    """Look whether the artifacts, which have a backup of their own, are those that the database means."""
    store = store_of(place)
    present = dict(store.sizes())
    for key, wanted in manifest["artifacts"].items():
        if present.get(key) != wanted["bytes"]:
            raise BadDataError(f"{place.destination} has no {key} as it was", "restore the artifacts first")
        if hashlib.file_digest(_Reader(store.open(key)), "sha256").hexdigest() != wanted["sha256"]:
            raise BadDataError(
                f"{key} in {place.destination} is not what it was", "restore the artifacts first"
            )


class _Reader:
    """What hashlib asks of a file, of a body that has less."""

    def __init__(self, body: Any) -> None:
        self.body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        chunk = self.body.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)
