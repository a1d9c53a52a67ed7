"""A run's record on disk after a crash, on a full disk, and with another process."""

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
from mlctl.adapters.runlog.recorder import Recorder, require_writable
from mlctl.adapters.tracking.convert import run_status
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.heartbeat import HEARTBEAT, LOST_AFTER_S
from mlctl.domain.progress import NullProgress
from mlctl.errors import BadDataError, ConfigurationError, RefusedError

pytestmark = pytest.mark.unit


def entry(number: int) -> dict[str, object]:
    return {"kind": "tags", "values": {"number": str(number)}}


def test_torn_last_line_is_dropped(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    journal.add(entry(1))
    journal.close()
    with (tmp_path / "run" / "journal.jsonl").open("ab") as file:
        file.write(b'{"kind":"ta')
    journal = Journal(tmp_path / "run")
    journal.add(entry(2))
    assert list(journal.entries()) == [entry(1), entry(2)]
    journal.close()


def test_error_names_a_damaged_line(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(json.dumps(entry(1)).encode() + b"\n\0\0\0\n{}\n")
    journal = Journal(tmp_path)
    with pytest.raises(BadDataError, match="line 2 is damaged"):
        list(journal.entries())
    journal.close()


def test_second_writer_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(RefusedError, match="another process is writing"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_full_disk_leaves_complete_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add(entry(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, before[1]))
    try:
        with pytest.raises(ConfigurationError, match=r"cannot write .*: File too large"):
            journal.add(entry(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    journal.add(entry(3))
    assert list(journal.entries()) == [entry(1), entry(3)]
    journal.close()


def test_unwritable_state_folder_is_reported_before_a_run_is_created(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ConfigurationError, match="cannot record runs"):
        require_writable(tmp_path / "state")
    with pytest.raises(ConfigurationError):
        Recorder.create(
            TrackingStore(f"sqlite:///{tmp_path}/mlflow.db", create=True),
            experiment="e",
            run_name=None,
            tags={},
            state_dir=tmp_path / "state",
            listener=NullProgress(),
        )
    assert not (tmp_path / "mlflow.db").exists()


def test_entries_are_added_while_others_are_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    writer = threading.Thread(target=lambda: [journal.add(entry(number)) for number in range(300)])
    writer.start()
    entries: list[object] = []
    while len(entries) < 300:
        entries += journal.entries(len(entries))
    writer.join()
    journal.close()
    assert entries == [entry(number) for number in range(300)]


@pytest.mark.parametrize(
    ("age_s", "status", "expected"),
    [
        (0, "RUNNING", "RUNNING"),
        (LOST_AFTER_S - 5, "RUNNING", "RUNNING"),
        (LOST_AFTER_S + 5, "RUNNING", "LOST"),
        (-3600, "RUNNING", "LOST"),  # its clock, or this one, was set back
        (LOST_AFTER_S + 5, "FINISHED", "FINISHED"),
    ],
)
def test_run_is_lost_a_minute_after_its_last_heartbeat(age_s: float, status: str, expected: str) -> None:
    assert run_status(status, {HEARTBEAT: f"{time.time() - age_s:.0f}"}) == expected


def checkpoint(epoch: int, best: int) -> checkpoints.Checkpoint:
    return checkpoints.Checkpoint(
        epoch=epoch,
        state=checkpoints.TrainingState(
            variables=[np.full((2, 3), epoch, np.float32), np.array(epoch)],
            arrays={"keras.random": np.array([epoch, 0])},
            values={"callbacks": [{"class": "Mine", "values": {"wait": epoch}}]},
            phase=1,
        ),
        epochs=[[number, {"loss": 1 / number}, 0.1] for number in range(1, epoch + 1)],
        best_epoch=best,
        best_weights=[np.full((2, 3), best, np.float32)],
    )


def write_checkpoints(folder: Path, *written: checkpoints.Checkpoint) -> list[list[Path]]:
    uploads: list[list[Path]] = []
    for each in written:  # a writer each, so that none is skipped
        writer = checkpoints.CheckpointWriter(folder, uploads.append, 0)
        writer.write(each)
        writer.close()
        assert writer.failure is None
    return uploads


def test_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path: Path) -> None:
    uploads = write_checkpoints(tmp_path, checkpoint(1, 1), checkpoint(2, 1), checkpoint(3, 3))
    assert [path.name for path in uploads[-1]] == ["best-00003.ckpt", "00003-00003.ckpt"]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["00002-00001.ckpt", "00003-00003.ckpt", "best-00001.ckpt", "best-00003.ckpt"]
    newest = tmp_path / "00003-00003.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1])
    newest_valid = checkpoints.load_newest(tmp_path)
    assert newest_valid is not None
    assert (newest_valid.epoch, newest_valid.best_epoch) == (2, 1)
    assert np.array_equal(newest_valid.best_weights[0], checkpoint(2, 1).best_weights[0])
    state, written = newest_valid.state, checkpoint(2, 1).state
    assert [array.tolist() for array in state.variables] == [array.tolist() for array in written.variables]
    assert state.arrays["keras.random"].tolist() == [2, 0]
    assert (state.values, state.phase, state.over) == (written.values, 1, False)


def test_damaged_best_weights_are_written_again(tmp_path: Path) -> None:
    write_checkpoints(tmp_path, checkpoint(1, 1), checkpoint(2, 1))
    best = tmp_path / "best-00001.ckpt"
    best.write_bytes(best.read_bytes()[:10])
    assert checkpoints.load_newest(tmp_path) is None
    write_checkpoints(tmp_path, checkpoint(1, 1))
    newest_valid = checkpoints.load_newest(tmp_path)
    assert newest_valid is not None
    assert newest_valid.epoch == 2


def test_unwritable_checkpoints_are_reported_and_do_not_stop_the_training(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file instead of a folder")
    writer = checkpoints.CheckpointWriter(tmp_path / "checkpoints", lambda files: None, 60)
    writer.write(checkpoint(1, 1))
    writer.close()
    assert isinstance(writer.failure, OSError)
