"""The files of an endpoint: copies of models, counters on a full disk, and a log that begins new files."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlctl.adapters.system import log_tail
from mlctl.adapters.system.state_files import StateFiles
from mlctl.errors import RefusedError
from mlctl.services.serving.folders import claim_folder
from mlctl.serving import log_file, metrics_files
from mlctl.serving.endpoint_folder import EndpointFolder
from mlctl.serving.endpoint_spec import ServedVersion


def fetched(folder: EndpointFolder, version: str) -> ServedVersion:
    incoming = folder.new_incoming()
    (incoming / "MLmodel").write_text(version)
    return folder.accept(ServedVersion(name="M", version=version, uri="", folder=str(incoming)))


@pytest.mark.unit
def test_only_the_copies_in_use_are_kept(tmp_path: Path) -> None:
    folder = EndpointFolder(tmp_path / "M")
    folder.prepare()
    copies = [fetched(folder, version) for version in ("1", "2", "2", "a/b")]
    assert len({copy.folder for copy in copies}) == 4
    assert [(Path(copy.folder) / "MLmodel").read_text() for copy in copies] == ["1", "2", "2", "a/b"]
    folder.keep_only([copies[0], copies[2]])
    assert [Path(copy.folder).exists() for copy in copies] == [True, False, True, False]
    elsewhere = ServedVersion(name="M", version="", uri="", folder=str(tmp_path))
    assert folder.accept(elsewhere) is elsewhere


@pytest.mark.unit
def test_what_a_killed_endpoint_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    states = StateFiles(tmp_path)
    for name in ("M", "other"):
        folder = EndpointFolder(tmp_path / name)
        folder.prepare()
        fetched(folder, "1")
        (folder.path / "requests").mkdir()
        owner = {"pid": 2**22 + 7, "birth": "never"}
        (folder.path / "owner.json").write_text(json.dumps(owner))
    running = EndpointFolder(tmp_path / "running")
    running.prepare()
    kept = fetched(running, "1")
    (running.path / "owner.json").write_text(json.dumps({"pid": os.getppid(), "birth": _birth(os.getppid())}))
    claim_folder(states, "M")
    assert sorted(entry.name for entry in (tmp_path / "M").iterdir()) == ["metrics", "owner.json", "requests"]
    assert [entry.name for entry in (tmp_path / "other").iterdir()] == ["requests"]
    assert Path(kept.folder).exists()
    with pytest.raises(RefusedError, match="another process is starting"):
        claim_folder(states, "running")


def _birth(pid: int) -> str | None:
    from mlctl import machine

    return machine.birth(pid)


@pytest.mark.unit
def test_the_counts_of_ended_workers_are_added_up(tmp_path: Path) -> None:
    for pid in (11, 12, 13):
        for kind in ("counter", "histogram", "gauge_livesum"):
            counts = metrics_files.ReservedDict(str(tmp_path / f"{kind}_{pid}.db"))
            counts.write_value('["a", "a_total", {}, ""]', float(pid), 0.0)
            counts.close()
    assert (tmp_path / "counter_11.db").stat().st_blocks * 512 >= metrics_files.SIZE
    for pid in (11, 12):
        metrics_files.merge_ended(tmp_path, pid)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "counter_13.db",
        "counter_ended.db",
        "gauge_livesum_13.db",
        "histogram_13.db",
        "histogram_ended.db",
    ]
    sums = metrics_files.MmapedDict.read_all_values_from_file(str(tmp_path / "counter_ended.db"))
    assert [value for _, value, _, _ in sums] == [23.0]


COUNT_ON_A_FULL_DISK = """
import errno, os
def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
os.posix_fallocate = full
from mlctl.serving import metrics_files
metrics_files.reserve()
from prometheus_client import CollectorRegistry, Counter, generate_latest
registry = CollectorRegistry()
Counter("a", "", registry=registry).inc()
print(generate_latest(registry).decode(), os.listdir(os.environ.get("FOLDER")))
"""


def test_a_worker_starts_on_a_full_disk_and_counts_for_itself(tmp_path: Path) -> None:
    environment = {**os.environ, metrics_files.VARIABLE: str(tmp_path), "FOLDER": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", COUNT_ON_A_FULL_DISK], env=environment, capture_output=True, text=True
    )
    assert "a_total 1.0" in done.stdout, done.stderr
    assert "[]" in done.stdout
    assert os.strerror(errno.ENOSPC) in done.stderr


@pytest.mark.unit
def test_a_log_begins_a_new_file_and_its_readers_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "reopen_log", lambda file: Path(file).touch() is None)
    monkeypatch.setattr(log_tail, "POLL_INTERVAL_S", 0.01)
    log = tmp_path / "M.log"
    log.write_text("1\n2\n3\n")
    rotation = log_file.LogRotation(log, 20)
    assert not rotation.rotate_if_large()
    ended, seen = threading.Event(), list[str]()

    def read() -> None:
        for line in log_tail.follow(log, lambda: not ended.is_set()):
            seen.append(line)
            if line == "4":  # the reader is at the end of the file
                with log.open("a") as file:
                    file.write("written while the file is large\n")
                assert rotation.rotate_if_large()
                log.write_text("5\n")
            elif line == "5":
                ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    while reader.is_alive() and not seen:  # it may not have opened the file yet
        with log.open("a") as file:
            file.write("4\n")
        reader.join(0.05)
    reader.join(5)
    assert seen[-2:] == ["written while the file is large", "5"]
    assert log_tail.last_lines(log, 3) == ["4", "written while the file is large", "5"]
    assert log_tail.last_lines(log, 1) == ["5"]
    assert not rotation.rotate_if_large()


def test_processes_write_to_the_new_file(tmp_path: Path) -> None:
    code = "from mlctl.serving.log_file import reopen_log; print('old', flush=True); reopen_log('new'); print('new')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "old\n"
    assert (tmp_path / "new").read_text() == "new\n"
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
