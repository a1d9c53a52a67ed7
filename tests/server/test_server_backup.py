"""A backup while the store is in use: what goes away meanwhile, and the file that it is written to."""

from __future__ import annotations

import json
import stat
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlctl.adapters.storage.artifact_folder import ArtifactFolder
from mlctl.adapters.storage.s3 import TrackingStore
from mlctl.domain.server import Bucket, ServerLocation
from mlctl.errors import NotFoundError, RefusedError, UnreachableError
from mlctl.services.server import backup as backup_of
from mlctl.services.server.server_location import locate
from tests.parts.s3 import S3

NewStore = Callable[[Path], str]


class Busy(ArtifactFolder):
    """A folder in which something happens to a file after it was listed: at the first try to open it."""

    def __init__(self, root: Path, happens: dict[str, Callable[[Path], None]]) -> None:
        super().__init__(root)
        self.happens = happens

    def open(self, key: str) -> Any:
        """Open a file, a moment too late."""
        if happen := self.happens.pop(key.rpartition("/")[2], None):
            happen(self.root / key)
            raise NotFoundError("not there at this moment")
        return super().open(key)


@pytest.fixture
def place(tmp_path: Path, new_store: NewStore) -> ServerLocation:
    """A run with a checkpoint, a note and a model; and a file that is nobody's."""
    client = MlflowClient(new_store(tmp_path))
    run = client.create_run("0").info
    artifacts = tmp_path / "mlartifacts" / "0" / run.run_id / "artifacts"
    for name in ("checkpoint/00001-00001.ckpt", "note.txt", "model/checkpoint/weights"):
        (artifacts / name).parent.mkdir(parents=True, exist_ok=True)
        (artifacts / name).write_text(name)
    (tmp_path / "mlartifacts" / "0" / "nobody.txt").write_text("nobody's")
    return locate(tmp_path)


@pytest.fixture
def busy(place: ServerLocation, monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[Path], None]]:
    """What happens to files of these names."""
    happens: dict[str, Callable[[Path], None]] = {}
    module = sys.modules["mlctl.services.server.backup"]  # its name in the package is the verb's
    monkeypatch.setattr(module, "store_of", lambda place: Busy(place.folder, happens))
    return happens


def kept(file: Path) -> set[str]:
    with tarfile.open(file) as tar:
        body = tar.extractfile("manifest.json")
        assert body
        return {name.rpartition("/")[2] for name in json.load(body)["artifacts"]}


def test_what_goes_away_meanwhile_is_left_out_where_nothing_needs_it(
    place: ServerLocation, busy: dict[str, Callable[[Path], None]]
) -> None:
    saved = place.root / "saved.tar"
    busy["00001-00001.ckpt"] = busy["nobody.txt"] = Path.unlink
    busy["note.txt"] = Path.touch  # it is replaced at this very moment, and there again
    told = backup_of(place, saved, with_artifacts=True)
    assert (told.artifacts, told.vanished) == (2, 2)
    assert kept(saved) == {"note.txt", "weights"}


def test_what_a_run_needs_may_not_go_away(
    place: ServerLocation, busy: dict[str, Callable[[Path], None]]
) -> None:
    """Not even from a folder of a model that has a checkpoint's name."""
    busy["weights"] = Path.unlink
    with pytest.raises(
        RefusedError, match=r"weights was taken away meanwhile, and run [0-9a-f]{32} needs it"
    ):
        backup_of(place, place.root / "saved.tar", with_artifacts=True)
    assert not list(place.root.glob("saved.tar*"))


def test_another_backups_unfinished_file_is_not_touched(place: ServerLocation) -> None:
    """Whether that one was killed or goes on; what is written can be read by its owner alone: it holds secrets."""
    saved = place.root / "saved.tar"
    others = saved.with_name("saved.tar.part")
    others.write_text("another's")
    backup_of(place, saved, with_artifacts=True)
    assert others.read_text() == "another's"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    with pytest.raises(RefusedError, match="is there already"):
        backup_of(place, saved, with_artifacts=True)
    with pytest.raises(RefusedError, match="cannot be written"):
        backup_of(place, place.root / "no folder" / "saved.tar", with_artifacts=True)
    assert sorted(one.name for one in place.root.glob("saved.tar*")) == ["saved.tar", "saved.tar.part"]


@pytest.mark.needs("s3")
def test_a_buckets_answers_are_ours(s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file is put, and where an object breaks off while it is read."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "file").write_text("content")
    with pytest.raises(NotFoundError, match="has no bucket 'not-there'"):
        TrackingStore(Bucket("not-there", endpoint_url=s3.url)).put_file("key", tmp_path / "file")
    store = TrackingStore(Bucket(s3.new_bucket(), endpoint_url=s3.url))
    with pytest.raises(RefusedError, match="cannot read"):
        store.put_file("key", tmp_path / "no file")
    store.put_file("key", tmp_path / "file")
    body = store.open("key")
    assert body.read(3) == b"con"
    body._raw._amount_read -= 1  # as if one byte had been lost on the way
    assert body.read(4) == b"tent"
    with pytest.raises(UnreachableError, match="does not answer as S3 does"):
        body.read(3)
