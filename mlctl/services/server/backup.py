"""A server's database and artifacts in one file, made while it is in use.

The file is a plain tar: `tables/NAME.jsonl`, `artifacts/KEY`, and last of all `manifest.json` with the size and
SHA-256 of each. A file without its manifest, or with another content than it says, is torn and refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from mlctl.adapters.database import connection as database
from mlctl.adapters.database import dump
from mlctl.adapters.storage.artifact_folder import ArtifactStore, store_of
from mlctl.domain.server import Backup, ServerLocation
from mlctl.errors import NotFoundError, RefusedError, UnreachableError
from mlctl.services.server import backup_coverage

FORMAT = 1
IN_MEMORY = 16 << 20
ATTEMPTS = 3


def backup(place: ServerLocation, file: Path, with_artifacts: bool) -> Backup:
    """Write a backup and return what is in it; an existing file is refused, and nothing half made is left.

    The database is taken first, in one moment; artifacts that it needs are never changed once they are there, so
    those are found afterwards. Raises NotFoundError where there is no database; RefusedError for the file, where an
    artifact was taken away meanwhile that is needed, and where experiments of local clients keep artifacts in folders
    of their own, which would not be in it.
    """
    if (sqlite := place.backend.sqlite_file) and not sqlite.exists():
        raise NotFoundError(f"there is no database at {sqlite}", "look at --root, or name --backend")
    database.verify(place.backend, upgrade=True)
    backup_coverage.demand_adopted(place)
    manifest: dict[str, Any] = {
        "format": FORMAT, "made_at": time.time(), "mlflow": version("mlflow"), "with_artifacts": with_artifacts,
        "backend": place.backend.shown, "bucket": place.bucket.uri if place.bucket else None, "tables": {},
        "artifacts": {}, "vanished": 0,
    }  # fmt: skip
    try:
        with (
            _taking_its_place(file) as raw,
            tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            with dump.snapshot(place.backend) as connection:
                manifest["revisions"] = dump.revisions(connection)
                tables = dump.tables(connection)
                located = dump.locations(connection, tables)
                for table in tables:
                    lines = dump.rows(connection, table)
                    manifest["tables"][table.name] = _add_lines(tar, f"tables/{table.name}.jsonl", lines)
            manifest["elsewhere"] = backup_coverage.elsewhere(located, place)
            store, needs = store_of(place), backup_coverage.Needs(located, place)
            for key, _ in store.sizes():
                if added := _add_artifact(tar, key, store, with_artifacts, needs):
                    manifest["artifacts"][key] = added
                else:
                    manifest["vanished"] += 1
            _add(tar, "manifest.json", io.BytesIO(json.dumps(manifest).encode()))
    except OSError as exc:
        raise RefusedError(
            f"{file} cannot be written: {exc.strerror or exc}", "free space, or name another place"
        ) from exc
    return summary(file, manifest)


@contextlib.contextmanager
def _taking_its_place(file: Path) -> Iterator[IO[bytes]]:
    """Yield a file that only we know and may read, beside this one, which takes its place at the end."""
    _demand_new(file)
    with tempfile.NamedTemporaryFile(
        dir=file.parent, prefix=f"{file.name}.", suffix=".part", delete=False
    ) as raw:
        part = Path(raw.name)
        try:
            yield raw
            raw.flush()
            os.fsync(raw.fileno())
            _demand_new(file)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)


def _demand_new(file: Path) -> None:
    if file.exists():
        raise RefusedError(f"{file} is there already", "name another file")


def summary(file: Path, manifest: dict[str, Any]) -> Backup:
    """Return what a backup holds."""
    counted = {
        name: manifest["tables"].get(name, {}).get("rows", 0) for name in ("runs", "registered_models")
    }
    return Backup(
        file=str(file),
        size_bytes=file.stat().st_size,
        runs=counted["runs"],
        models=counted["registered_models"],
        artifacts=len(manifest["artifacts"]),
        artifact_bytes=sum(one["bytes"] for one in manifest["artifacts"].values()),
        with_artifacts=manifest["with_artifacts"],
        backend=manifest["backend"],
        elsewhere=tuple(manifest["elsewhere"]),
        vanished=manifest["vanished"],
    )


def _add_artifact(
    tar: tarfile.TarFile, key: str, store: ArtifactStore, keep: bool, needs: backup_coverage.Needs
) -> dict[str, Any] | None:
    """Add an artifact, or return None where it is gone and nobody needs it.

    One that is just being replaced is there again in a moment. Raises RefusedError where one that is needed stays
    away.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _add_body(tar, f"artifacts/{key}", store.open(key), keep)
        except NotFoundError as exc:
            whom = needs.whom(key)
            if whom is None:
                return None
            if attempt == ATTEMPTS:
                raise RefusedError(
                    f"{key} was taken away meanwhile, and {whom} needs it", "say it again"
                ) from exc
        except UnreachableError:
            if attempt == ATTEMPTS:
                raise
        time.sleep(0.2 * attempt)
    return None


def _add_lines(tar: tarfile.TarFile, name: str, lines: Iterable[bytes]) -> dict[str, Any]:
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
        count, digest = 0, hashlib.sha256()
        for line in lines:
            spool.write(line)
            digest.update(line)
            count += 1
        size = spool.tell()
        spool.seek(0)
        _add(tar, name, spool)
    return {"rows": count, "bytes": size, "sha256": digest.hexdigest()}


def _add_body(tar: tarfile.TarFile, name: str, body: IO[bytes], keep: bool) -> dict[str, Any]:
    """Read an artifact whole, since its size could have changed after it was listed; keep it where wanted."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as spool:
        size, digest = 0, hashlib.sha256()
        while chunk := body.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
            if keep:
                spool.write(chunk)
        body.close()
        if keep:
            spool.seek(0)
            _add(tar, name, spool)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _add(tar: tarfile.TarFile, name: str, body: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = body.seek(0, 2)
    info.mode = 0o600
    body.seek(0)
    tar.addfile(info, body)
