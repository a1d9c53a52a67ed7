"""Restore a backup into an empty database and an empty bucket or folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlctl.adapters.database import connection, dump
from mlctl.adapters.storage.artifact_store import open_artifact_store
from mlctl.domain.server import Backup, ServerLocation
from mlctl.errors import BadDataError, MlctlError, NotFoundError, RefusedError
from mlctl.services.server.backup import FORMAT, summary
from mlctl.services.server.preflight import require_usable_bucket


def check_restore(location: ServerLocation, file: Path, *, create_bucket: bool = False) -> Backup:
    """Check everything that `restore_backup` needs, and change nothing; return the backup's summary.

    Raises:
        BadDataError: The file is damaged, or the artifacts of a backup without artifacts are not the right ones.
        NotFoundError: There is no such file, or no such bucket and `create_bucket` is false.
        RefusedError: The database, bucket or folder is not empty, or the database has another schema.
    """
    return summary(file, _check(location, file, create_bucket=create_bucket))


def restore_backup(location: ServerLocation, file: Path, *, create_bucket: bool = False) -> Backup:
    """Restore a backup; return its summary. Raises what `check_restore` raises.

    Everything is checked before anything changes. The artifacts come first, because a database must not name
    artifacts that are missing. If the database fails, the artifacts are deleted again, so that the user can repeat
    the command.
    """
    manifest = _check(location, file, create_bucket=create_bucket)
    if create_bucket:
        require_usable_bucket(location, create=True)
    store = open_artifact_store(location)
    restored: list[str] = []
    with tarfile.open(file, "r:") as tar:
        try:
            for member in tar:
                if member.name.startswith("artifacts/"):
                    restored.append(member.name.removeprefix("artifacts/"))
                    store.put(restored[-1], tar.extractfile(member))
            dump.create_schema(location.backend, manifest["revisions"])
            tables = {name: _table_lines(tar, name) for name in manifest["tables"]}
            dump.load_rows(location.backend, tables, _moved_bucket(manifest["bucket"], location))
        except BaseException:
            with contextlib.suppress(MlctlError):
                store.delete(restored)
            raise
    return summary(file, manifest)


def _check(location: ServerLocation, file: Path, *, create_bucket: bool) -> dict[str, Any]:
    """Check a backup and its destination; return the manifest."""
    manifest = read_manifest(file)
    connection.check_database(location.backend, upgrade=True)
    dump.require_restorable(location.backend, manifest["revisions"], manifest["tables"])
    try:
        require_usable_bucket(location, create=False)
    except NotFoundError:
        if not create_bucket:
            raise
        _check_artifacts(location, manifest, sizes=iter(()))
    else:
        _check_artifacts(location, manifest, sizes=open_artifact_store(location).sizes())
    return manifest


def read_manifest(file: Path) -> dict[str, Any]:
    """Return a backup's manifest after checking every byte of the file; raises BadDataError if it is damaged."""
    if not file.is_file():
        raise NotFoundError(f"there is no file {file}", "name a file that mlctl server-backup wrote")
    digests: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                body = tar.extractfile(member)
                if body is None:
                    raise BadDataError(
                        f"{file} is not a backup: {member.name!r} in it is not a file",
                        "name a file that mlctl server-backup wrote",
                    )
                if member.name == "manifest.json":
                    manifest = json.load(body)
                else:
                    digests[member.name] = _sha256(body)
    except (tarfile.TarError, ValueError, EOFError) as exc:
        raise BadDataError(f"{file} is damaged, or is not a backup: {exc}", "use another backup") from exc
    if manifest is None:
        raise BadDataError(f"{file} is damaged: its end is missing", "use another backup")
    if manifest.get("format") != FORMAT:
        raise BadDataError(
            f"{file} has the unknown format {manifest.get('format')}",
            "restore it with the mlctl version that wrote it",
        )
    expected = {f"tables/{name}.jsonl": entry["sha256"] for name, entry in manifest["tables"].items()}
    if manifest["with_artifacts"]:
        expected |= {f"artifacts/{key}": entry["sha256"] for key, entry in manifest["artifacts"].items()}
    for name in expected.keys() | digests.keys():
        if expected.get(name) != digests.get(name):
            raise BadDataError(f"{file} is damaged: the checksum of {name} is wrong", "use another backup")
    return manifest


def _moved_bucket(bucket: str | None, location: ServerLocation) -> tuple[str, str] | None:
    """Return the old and the new URI of a bucket to which clients wrote directly; None if it is the same."""
    destination = location.remote_uri or "mlflow-artifacts:"
    return (bucket, destination) if bucket and bucket != destination else None


def _table_lines(tar: tarfile.TarFile, table: str) -> Iterator[bytes]:
    body = tar.extractfile(f"tables/{table}.jsonl")
    assert body
    yield from body


def _check_artifacts(
    location: ServerLocation, manifest: dict[str, Any], *, sizes: Iterator[tuple[str, int]]
) -> None:
    """Check that the destination is empty, or has exactly the artifacts of a backup that holds none."""
    if manifest["with_artifacts"]:
        if next(sizes, None) is not None:
            raise RefusedError(
                f"{location.destination} is not empty", "restore into an empty bucket or folder"
            )
        return
    store, found = open_artifact_store(location), dict(sizes)
    for key, entry in manifest["artifacts"].items():
        if key not in found:
            problem = "is missing"
        elif found[key] != entry["bytes"] or _sha256(store.open(key)) != entry["sha256"]:
            problem = "has other content"
        else:
            continue
        raise BadDataError(
            f"{key} {problem} in {location.destination}", "restore the artifacts first, from their own backup"
        )


def _sha256(body: Any) -> str:
    """Return the SHA-256 of a readable, which need not have the methods that `hashlib.file_digest` calls."""
    digest = hashlib.sha256()
    while chunk := body.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()
