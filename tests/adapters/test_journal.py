"""A run's record on disk: what a crash, a full disk or another process does to it."""

from __future__ import annotations

import json
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mlctl.adapters.keras import checkpoints
from mlctl.adapters.runlog.journal import Journal
from mlctl.adapters.runlog.recorder import Recorder, check_writable
from mlctl.adapters.tracking.convert import _status
from mlctl.adapters.tracking.heartbeat import HEARTBEAT, LOST_AFTER_S
from mlctl.domain.progress import NullProgress
from mlctl.errors import BadDataError, ConfigurationError, RefusedError


def entry(number: int) -> dict[str, object]:
    return {"kind": "tags", "values": {"number": str(number)}}


def test_a_torn_last_line_is_dropped_and_the_next_is_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    journal.add(entry(1))
    journal.close()
    with (tmp_path / "run" / "journal.jsonl").open("ab") as file:
        file.write(b'{"kind":"ta')
    journal = Journal(tmp_path / "run")
    journal.add(entry(2))
    assert list(journal.entries()) == [entry(1), entry(2)]
    journal.close()


def test_a_damaged_line_is_told_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(json.dumps(entry(1)).encode() + b"\n\0\0\0\n{}\n")
    journal = Journal(tmp_path)
    with pytest.raises(BadDataError, match="line 2 is damaged"):
        list(journal.entries())
    journal.close()


def test_one_process_writes(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(RefusedError, match="written by another process"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(entry(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, before[1]))
    try:
        with pytest.raises(ConfigurationError, match="cannot be written: File too large"):
            journal.add(entry(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    journal.add(entry(3))
    assert list(journal.entries()) == [entry(1), entry(3)]
    journal.close()


def test_a_state_folder_that_cannot_be_written_is_told_before_a_run_is_made(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ConfigurationError, match="runs cannot be recorded"):
        check_writable(tmp_path / "state")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(ConfigurationError):
        Recorder.begin(uri, "e", None, {}, tmp_path / "state", NullProgress())
    assert not (tmp_path / "mlflow.db").exists()


def test_entries_added_while_others_are_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    writer = threading.Thread(target=lambda: [journal.add(entry(number)) for number in range(300)])
    writer.start()
    seen: list[object] = []
    while len(seen) < 300:
        seen += journal.entries(len(seen))
    writer.join()
    journal.close()
    assert seen == [entry(number) for number in range(300)]


@pytest.mark.parametrize(
    ("beat_ago_s", "status", "shown"),
    [
        (0, "RUNNING", "RUNNING"),
        (LOST_AFTER_S - 5, "RUNNING", "RUNNING"),
        (LOST_AFTER_S + 5, "RUNNING", "LOST"),
        (-3600, "RUNNING", "LOST"),  # its clock, or ours, has been put back
        (LOST_AFTER_S + 5, "FINISHED", "FINISHED"),
    ],
)
def test_a_run_is_lost_a_minute_after_its_last_beat(beat_ago_s: float, status: str, shown: str) -> None:
    assert _status(status, {HEARTBEAT: f"{time.time() - beat_ago_s:.0f}"}) == shown


def checkpoint(epoch: int, best: int) -> checkpoints.Checkpoint:
    return checkpoints.Checkpoint(
        epoch,
        [np.full((2, 3), epoch, np.float32), np.array(epoch)],
        [[number, {"loss": 1 / number}, 0.1] for number in range(1, epoch + 1)],
        best,
        [np.full((2, 3), best, np.float32)],
    )


def written(folder: Path, *made: checkpoints.Checkpoint) -> list[list[Path]]:
    shared: list[list[Path]] = []
    for one in made:  # a writer each, so that none is skipped
        writer = checkpoints.CheckpointWriter(folder, shared.append, 0)
        writer.write(one)
        writer.close()
        assert writer.failure is None
    return shared


def test_a_torn_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    shared = written(tmp_path, checkpoint(1, 1), checkpoint(2, 1), checkpoint(3, 3))
    assert [path.name for path in shared[-1]] == ["best-00003.ckpt", "00003-00003.ckpt"]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["00002-00001.ckpt", "00003-00003.ckpt", "best-00001.ckpt", "best-00003.ckpt"]
    newest = tmp_path / "00003-00003.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1])
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert (found.epoch, found.best) == (2, 1)
    assert np.array_equal(found.best_weights[0], checkpoint(2, 1).best_weights[0])


def test_torn_best_weights_are_written_again(tmp_path: Path) -> None:
    written(tmp_path, checkpoint(1, 1), checkpoint(2, 1))
    best = tmp_path / "best-00001.ckpt"
    best.write_bytes(best.read_bytes()[:10])
    assert checkpoints.newest(tmp_path) is None
    written(tmp_path, checkpoint(1, 1))
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.epoch == 2


def test_a_disk_that_takes_no_checkpoint_is_told_and_does_not_stop(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    writer = checkpoints.CheckpointWriter(tmp_path / "checkpoints", lambda files: None, 60)
    writer.write(checkpoint(1, 1))
    writer.close()
    assert isinstance(writer.failure, OSError)
