"""Write a server's database and artifacts into one file while the server is in use.

The file is a plain tar archive: `tables/NAME.jsonl`, `artifacts/KEY`, and at the end `manifest.json` with the size
and SHA-256 of each. A file without a manifest, or whose content does not match it, is damaged, and mlctl refuses it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from mlctl.adapters.database import connection as database
from mlctl.adapters.database import dump
from mlctl.adapters.storage.artifact_store import ArtifactStore, open_artifact_store
from mlctl.domain.server import Backup, ServerLocation
from mlctl.errors import NotFoundError, RefusedError, UnreachableError
from mlctl.files import atomic_writer
from mlctl.services.server import backup_coverage
from mlctl.services.server.backup_coverage import ArtifactOwners

FORMAT = 1
MEMORY_LIMIT = 16 << 20  # bytes; a larger table or artifact is spooled to a temporary file
ATTEMPTS = 3


def write_backup(location: ServerLocation, file: Path, *, with_artifacts: bool) -> Backup:
    """Write a backup and return its summary. An error leaves no file behind.

    The database is saved first, as of one moment. An artifact never changes once it is written, so the artifacts that
    the database needs are still there afterwards.

    Raises NotFoundError if there is no database, and RefusedError if:

    - the file exists or cannot be written,
    - an artifact that the database needs is deleted meanwhile,
    - experiments of local clients have artifacts in folders of their own, which would not be in the backup.
    """
    if (sqlite := location.backend.sqlite_file) and not sqlite.exists():
        raise NotFoundError(
            f"there is no database at {sqlite}", "check --root, or name the database: --backend"
        )
    database.check_database(location.backend, upgrade=True)
    backup_coverage.require_adopted_artifacts(location)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "made_at": time.time(),
        "mlflow": version("mlflow"),
        "with_artifacts": with_artifacts,
        "backend": location.backend.display_uri,
        "bucket": location.remote_uri,
        "tables": {},
        "artifacts": {},
        "vanished": 0,
    }
    try:
        with (
            _new_file(file) as raw,
            tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            with dump.snapshot(location.backend) as connection:
                manifest["revisions"] = dump.read_revisions(connection)
                tables = dump.reflect_tables(connection)
                artifacts = dump.artifact_locations(connection, tables)
                for table in tables:
                    lines = dump.dump_rows(connection, table)
                    manifest["tables"][table.name] = _add_lines(tar, f"tables/{table.name}.jsonl", lines)
            manifest["elsewhere"] = backup_coverage.uncovered_locations(artifacts, location)
            writer = _ArtifactWriter(tar, open_artifact_store(location), with_artifacts=with_artifacts)
            owners = ArtifactOwners(artifacts, location)
            for key, _ in writer.store.sizes():
                if entry := writer.add(key, owners):
                    manifest["artifacts"][key] = entry
                else:
                    manifest["vanished"] += 1
            _add_file(tar, "manifest.json", io.BytesIO(json.dumps(manifest).encode()))
    except OSError as exc:
        raise RefusedError(
            f"{file} cannot be written: {exc.strerror or exc}", "free disk space, or choose another file"
        ) from exc
    return summary(file, manifest)


@contextlib.contextmanager
def _new_file(file: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file that only this user may read; it becomes `file` when the block ends."""
    _require_new(file)
    with atomic_writer(file, durable=True, mode=0o600) as raw:
        yield raw
        _require_new(file)


def _require_new(file: Path) -> None:
    if file.exists():
        raise RefusedError(f"{file} exists already", "choose another file")


def summary(file: Path, manifest: dict[str, Any]) -> Backup:
    """Return the summary of a backup with this manifest."""
    tables, artifacts = manifest["tables"], manifest["artifacts"]
    return Backup(
        file=str(file),
        size_bytes=file.stat().st_size,
        runs=tables.get("runs", {}).get("rows", 0),
        models=tables.get("registered_models", {}).get("rows", 0),
        artifacts=len(artifacts),
        artifact_bytes=sum(entry["bytes"] for entry in artifacts.values()),
        with_artifacts=manifest["with_artifacts"],
        backend=manifest["backend"],
        elsewhere=tuple(manifest["elsewhere"]),
        vanished=manifest["vanished"],
    )


class _ArtifactWriter:
    """Adds artifacts of a store to a backup, or only their checksums."""

    def __init__(self, tar: tarfile.TarFile, store: ArtifactStore, *, with_artifacts: bool) -> None:
        self.store = store
        self._tar = tar
        self._with_artifacts = with_artifacts

    def add(self, key: str, owners: ArtifactOwners) -> dict[str, Any] | None:
        """Add an artifact and return its entry; return None if it is gone and nothing in the database needs it.

        A client may be replacing a missing artifact at this moment, so a few more attempts follow. Raises
        RefusedError if an artifact that is needed stays missing.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._add(f"artifacts/{key}", self.store.open(key))
            except NotFoundError as exc:
                owner = owners.owner_of(key)
                if owner is None:
                    return None
                if attempt == ATTEMPTS:
                    raise RefusedError(
                        f"{key} was deleted during the backup, and {owner} needs it", "run the command again"
                    ) from exc
            except UnreachableError:
                if attempt == ATTEMPTS:
                    raise
            time.sleep(0.2 * attempt)
        return None

    def _add(self, name: str, body: IO[bytes]) -> dict[str, Any]:
        """Read an artifact to its end first, because its size may have changed since it was listed."""
        with tempfile.SpooledTemporaryFile(MEMORY_LIMIT) as spool:
            size, digest = 0, hashlib.sha256()
            while chunk := body.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
                if self._with_artifacts:
                    spool.write(chunk)
            body.close()
            if self._with_artifacts:
                _add_file(self._tar, name, spool)
        return {"bytes": size, "sha256": digest.hexdigest()}


def _add_lines(tar: tarfile.TarFile, name: str, lines: Iterable[bytes]) -> dict[str, Any]:
    with tempfile.SpooledTemporaryFile(MEMORY_LIMIT) as spool:
        count, digest = 0, hashlib.sha256()
        for line in lines:
            spool.write(line)
            digest.update(line)
            count += 1
        size = spool.tell()
        _add_file(tar, name, spool)
    return {"rows": count, "bytes": size, "sha256": digest.hexdigest()}


def _add_file(tar: tarfile.TarFile, name: str, body: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = body.seek(0, 2)
    info.mode = 0o600
    body.seek(0)
    tar.addfile(info, body)
