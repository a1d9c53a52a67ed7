"""A process is identified by its birth, whatever the clock or its name is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mlctl import machine
from mlctl.adapters.system.daemon import DaemonProcess, stop

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only the Linux kernel tells a process's birth")


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[DaemonProcess]:
    program = tmp_path / "a ) 1 2 3 name"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "60"])
    yield DaemonProcess.from_pid(child.pid)
    child.kill()
    child.wait()


@LINUX
def test_process_is_found_after_the_clock_was_set(
    sleeping: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3600)
    assert DaemonProcess.from_state(sleeping.to_state()).is_alive()
    boot, _, ticks = str(sleeping.birth).partition(" ")
    assert not replace(sleeping, birth=f"{boot} {int(ticks) + 1}").is_alive()
    assert not replace(sleeping, birth=f"another-boot {ticks}").is_alive()
    assert stop(sleeping, 10) == "gracefully"
    assert not sleeping.is_alive()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(sleeping.pid, 0)  # until then the kernel keeps its entry
    assert machine.birth(sleeping.pid) is None


def test_state_of_an_older_mlctl_is_read(sleeping: DaemonProcess) -> None:
    assert DaemonProcess.from_state({"pid": sleeping.pid, "started": sleeping.started}).is_alive()
    assert not DaemonProcess.from_state({"pid": sleeping.pid, "started": sleeping.started + 1}).is_alive()
