"""The file of the audit log: several writers, rotation, and what cannot be read or written."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from mlctl.errors import NotFoundError
from mlctl.services.server.audit import audit_file, read_audit_log
from mlctl.tracking_server import audit_log
from mlctl.tracking_server.audit_log import AuditLog, old_file

pytestmark = pytest.mark.unit


def entry(number: int, user: str = "ada") -> dict[str, object]:
    at = f"2026-11-30T02:00:{number % 60:02d}.000+00:00"
    fixed = {"from": "10.0.0.1", "method": "POST", "path": "runs/create", "status": 200}
    return {"at": at, "user": user, "what": {"version": number}, **fixed}


def new_file(folder: Path) -> Path:
    file = audit_file("main", folder)
    file.parent.mkdir(parents=True)
    return file


def test_writers_share_a_file_that_rotates_and_lose_nothing(tmp_path: Path) -> None:
    file = new_file(tmp_path)

    def write(writer: int) -> None:
        log = AuditLog(file, max_bytes=4000)
        for number in range(50):
            log.append(entry(writer * 50 + number))

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    read = read_audit_log("main", tmp_path, lines=1000).entries
    assert sorted(found.what["version"] for found in read) == list(range(200))
    assert old_file(file, 1).exists()
    assert all(part.stat().st_size <= 4000 for part in file.parent.iterdir())


def test_the_oldest_file_is_deleted(tmp_path: Path) -> None:
    file = new_file(tmp_path)
    log = AuditLog(file, max_bytes=1)
    for number in range(audit_log.OLD_FILES + 5):
        log.append(entry(number))
    read = read_audit_log("main", tmp_path, lines=1000).entries
    assert [found.what["version"] for found in read] == list(range(4, audit_log.OLD_FILES + 5))


def test_a_torn_line_is_left_out_and_a_filter_keeps_the_last(tmp_path: Path) -> None:
    file = new_file(tmp_path)
    with pytest.raises(NotFoundError, match="no audit log"):
        read_audit_log("main", tmp_path, lines=5)
    AuditLog(file).append(entry(1))
    with file.open("a") as text:
        text.write('{"at": "2026-11\n[]\n{"at": "x"}\n')
    for number in range(2, 5):
        AuditLog(file).append(entry(number, user="bob"))
    read = read_audit_log("main", tmp_path, lines=2, user="bob").entries
    assert [found.what["version"] for found in read] == [3, 4]
    assert len(read_audit_log("main", tmp_path, lines=9).entries) == 4
    assert json.loads(file.read_text().splitlines()[0])["from"] == "10.0.0.1"


def test_a_part_of_a_line_costs_no_other_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = new_file(tmp_path)
    file.write_text('{"at": "2026-11')  # the server was killed while it wrote
    AuditLog(file).append(entry(1))
    write = os.write
    monkeypatch.setattr(audit_log.os, "write", lambda descriptor, line: write(descriptor, line[:20]))
    AuditLog(file).append(entry(2))
    assert "No space left" in capsys.readouterr().err
    monkeypatch.undo()
    AuditLog(file).append(entry(3))
    read = read_audit_log("main", tmp_path, lines=9).entries
    assert [found.what["version"] for found in read] == [1, 3]


def test_any_text_can_be_noted(tmp_path: Path) -> None:
    file = new_file(tmp_path)
    AuditLog(file).append(entry(1, user="\ud800\nö"))
    (read,) = read_audit_log("main", tmp_path, lines=9).entries
    assert read.user == "?\nö"


def test_a_log_that_cannot_be_written_stops_no_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = AuditLog(tmp_path / "missing" / "file")
    log.append(entry(1))
    log.append(entry(2))
    assert capsys.readouterr().err.count("cannot be written: No such file") == 1
