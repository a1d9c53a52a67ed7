"""A server's database and artifacts in one file, made while it is in use.

The file is a plain tar: `tables/NAME.jsonl`, `artifacts/KEY`, and last of all `manifest.json` with the size and
SHA-256 of each. A file without its manifest, or with another content than it says, is torn and refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from mlctl.adapters import database, dump
from mlctl.adapters.artifacts import Folder, store_of
from mlctl.domain.server import Backup, Place
from mlctl.errors import NotFoundError, RefusedError
from mlctl.services.server import whereabouts
from mlctl.services.server.adopt import plan as plan_adoption

FORMAT = 1
IN_MEMORY = 16 << 20


def backup(place: Place, file: Path, with_artifacts: bool) -> Backup:
    """Write a backup and return what is in it; an existing file is refused, and nothing half made is left.

    The database is taken first, in one moment; artifacts are never changed once they are there, so those that
    it names are found afterwards. Raises NotFoundError where there is no database; RefusedError for the file, and
    where experiments of local clients keep artifacts in folders of their own, which would not be in it.
    """
    if file.exists():
        raise RefusedError(f"{file} is there already", "name another file")
    if (sqlite := place.backend.sqlite_file) and not sqlite.exists():
        raise NotFoundError(f"there is no database at {sqlite}", "look at --root, or name --backend")
    database.verify(place.backend, upgrade=True)
    _demand_adopted(place)
    part = file.with_name(f"{file.name}.part")
    manifest: dict[str, Any] = {
        "format": FORMAT, "made_at": time.time(), "mlflow": version("mlflow"), "with_artifacts": with_artifacts,
        "backend": place.backend.shown, "bucket": place.bucket.uri if place.bucket else None, "tables": {},
        "artifacts": {},
    }  # fmt: skip
    try:
        with part.open("xb") as raw, tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
            with dump.snapshot(place.backend) as connection:
                manifest["revisions"] = dump.revisions(connection)
                manifest["elsewhere"] = _elsewhere(dump.locations(connection), place)
                for table in dump.tables(connection):
                    lines = dump.rows(connection, table)
                    manifest["tables"][table.name] = _add_lines(tar, f"tables/{table.name}.jsonl", lines)
            store = store_of(place)
            for key, _ in store.sizes():
                manifest["artifacts"][key] = _add_body(
                    tar, f"artifacts/{key}", store.open(key), with_artifacts
                )
            _add(tar, "manifest.json", io.BytesIO(json.dumps(manifest).encode()))
            tar.close()
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(file)
    except OSError as exc:
        raise RefusedError(
            f"{file} cannot be written: {exc.strerror or exc}", "free space, or name another place"
        ) from exc
    finally:
        part.unlink(missing_ok=True)
    return summary(file, manifest)


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
    )


def _demand_adopted(place: Place) -> None:
    """Raise RefusedError where artifacts are in folders that local clients made: they are not the server's yet."""
    strays = [one for one in plan_adoption(place).movable if one.files]
    if strays:
        names = ", ".join(one.name for one in strays[:3]) + ("…" if len(strays) > 3 else "")
        files = sum(one.files for one in strays)
        raise RefusedError(
            f"{files} artifacts of {names} are in folders of this machine, and would not be in the backup",
            "move them behind the server: mlctl server-up --adopt-artifacts",
        )


def _elsewhere(locations: list[tuple[str, str]], place: Place) -> list[str]:
    """Return the places that are neither this server's nor a folder of this machine that holds nothing."""
    base = whereabouts.base(place)
    told = []
    for location, whose in locations:
        where = whereabouts.of(location, place)
        named = location.startswith(
            ("models:", "runs:")
        )  # by an id: where that one is, is looked at by itself
        here = where.is_absolute() and (Path(where).is_dir() or where.is_relative_to(place.root))
        if not (named or (here and not any(Folder(Path(where)).sizes())) or where.is_relative_to(base)):
            told.append(f"{location}, of {whose}")
    return told


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
