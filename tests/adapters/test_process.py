"""A process is recognised by its birth, whatever the clock or its name says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mlctl import machine
from mlctl.adapters.system.daemon import DaemonProcess, stop

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a birth on Linux alone")


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[DaemonProcess]:
    program = tmp_path / "a ) 1 2 3 name"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "60"])
    yield DaemonProcess.of(child.pid)
    child.kill()
    child.wait()


@LINUX
def test_a_clock_that_is_set_orphans_nobody(sleeping: DaemonProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    before = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: before(self) + 3600)
    assert DaemonProcess.noted(sleeping.as_note()).alive()
    boot, _, ticks = str(sleeping.birth).partition(" ")
    assert not replace(sleeping, birth=f"{boot} {int(ticks) + 1}").alive()
    assert not replace(sleeping, birth=f"another-boot {ticks}").alive()
    assert stop(sleeping, 10) == "gracefully"
    assert not sleeping.alive()
    assert machine.birth(sleeping.pid) is None


def test_a_note_of_an_older_mlctl_is_understood(sleeping: DaemonProcess) -> None:
    assert DaemonProcess.noted({"pid": sleeping.pid, "started": sleeping.started}).alive()
    assert not DaemonProcess.noted({"pid": sleeping.pid, "started": sleeping.started + 1}).alive()
