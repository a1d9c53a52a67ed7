"""server-backup while the store is in use: files that disappear meanwhile, and the file that it writes."""

from __future__ import annotations

import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlctl.adapters.storage.artifact_store import ArtifactFolder
from mlctl.domain.server import Bucket, ServerLocation
from mlctl.errors import NotFoundError, RefusedError, UnreachableError
from mlctl.s3 import S3Bucket
from mlctl.services.server import backup
from mlctl.services.server.backup import write_backup
from mlctl.services.server.server_location import build_location
from tests.parts.s3 import S3

NewStore = Callable[[Path], str]
Changes = dict[str, Callable[[Path], None]]


class BusyFolder(ArtifactFolder):
    """A folder in which a file changes after it was listed: at the first attempt to open it."""

    def __init__(self, root: Path, changes: Changes) -> None:
        super().__init__(root)
        self.changes = changes

    def open(self, key: str) -> Any:
        """Change the file and report it missing; later attempts open it."""
        if change := self.changes.pop(key.rpartition("/")[2], None):
            change(self.root / key)
            raise NotFoundError("missing at this moment")
        return super().open(key)


@pytest.fixture
def location(tmp_path: Path, new_store: NewStore) -> ServerLocation:
    """A run with a checkpoint, a note and a model; and a file that belongs to nothing."""
    client = MlflowClient(new_store(tmp_path))
    run = client.create_run("0").info
    artifacts = tmp_path / "mlartifacts" / "0" / run.run_id / "artifacts"
    for name in ("checkpoint/00001-00001.ckpt", "note.txt", "model/checkpoint/weights"):
        (artifacts / name).parent.mkdir(parents=True, exist_ok=True)
        (artifacts / name).write_text(name)
    (tmp_path / "mlartifacts" / "0" / "unused.txt").write_text("unused")
    return build_location(tmp_path)


@pytest.fixture
def changes(location: ServerLocation, monkeypatch: pytest.MonkeyPatch) -> Changes:
    """By file name, what happens to the file during the backup."""
    changes: Changes = {}
    monkeypatch.setattr(backup, "open_artifact_store", lambda location: BusyFolder(location.folder, changes))
    return changes


def saved_files(file: Path) -> set[str]:
    with tarfile.open(file) as tar:
        body = tar.extractfile("manifest.json")
        assert body
        return {key.rpartition("/")[2] for key in json.load(body)["artifacts"]}


def test_a_backup_leaves_out_deleted_files_that_nothing_needs(
    location: ServerLocation, changes: Changes
) -> None:
    saved = location.root / "saved.tar"
    changes["00001-00001.ckpt"] = changes["unused.txt"] = Path.unlink
    changes["note.txt"] = Path.touch  # a client replaces it: it exists again at the next attempt
    summary = write_backup(location, saved, with_artifacts=True)
    assert (summary.artifacts, summary.vanished) == (2, 2)
    assert saved_files(saved) == {"note.txt", "weights"}


def test_a_backup_is_refused_if_a_file_that_a_run_needs_is_deleted(
    location: ServerLocation, changes: Changes
) -> None:
    """A folder of a model may be named like that of a checkpoint."""
    changes["weights"] = Path.unlink
    with pytest.raises(
        RefusedError, match=r"weights was deleted during the backup, and run [0-9a-f]{32} needs it"
    ):
        write_backup(location, location.root / "saved.tar", with_artifacts=True)
    assert not list(location.root.glob("*saved.tar*"))


def test_a_backup_replaces_no_file_and_only_its_owner_can_read_it(location: ServerLocation) -> None:
    """It holds secrets. The unfinished file of another backup stays, whether that backup still runs or not."""
    saved = location.root / "saved.tar"
    unfinished = saved.with_name("saved.tar.part")
    unfinished.write_text("another backup")
    write_backup(location, saved, with_artifacts=True)
    assert unfinished.read_text() == "another backup"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    with pytest.raises(RefusedError, match="exists already"):
        write_backup(location, saved, with_artifacts=True)
    with pytest.raises(RefusedError, match="cannot be written"):
        write_backup(location, location.root / "no folder" / "saved.tar", with_artifacts=True)
    assert sorted(file.name for file in location.root.glob("*saved.tar*")) == ["saved.tar", "saved.tar.part"]


@pytest.mark.live
@pytest.mark.needs("s3")
def test_errors_of_a_bucket_are_translated(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a file is stored, and when the connection breaks while an object is read."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "file").write_text("content")
    with pytest.raises(NotFoundError, match="has no bucket 'not-there'"):
        S3Bucket(Bucket(name="not-there", endpoint_url=s3.url)).put_file("key", tmp_path / "file")
    store = S3Bucket(Bucket(name=s3.new_bucket(), endpoint_url=s3.url))
    with pytest.raises(RefusedError, match="cannot read"):
        store.put_file("key", tmp_path / "no file")
    store.put_file("key", tmp_path / "file")
    body = store.open("key")
    assert body.read(3) == b"con"
    body._body._amount_read -= 1  # as if one byte had been lost on the way
    assert body.read(4) == b"tent"
    with pytest.raises(UnreachableError, match="does not answer as S3 does"):
        body.read(3)
