"""Restart the server when it crashes. The delay grows if it keeps crashing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlctl.notifications import SERVER_DOWN
from mlctl.tracking_server import launcher
from mlctl.tracking_server.log import log
from mlctl.tracking_server.server_config import ServerConfig
from mlctl.tracking_server.signals import SignalWaiter

FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 30.0
STABLE_AFTER_S = 60.0


def supervise(config: ServerConfig) -> int:
    """Keep a server running until SIGTERM or SIGINT; return the exit code.

    This process keeps the listening socket open, so that requests wait in it while the server restarts. It does
    not repeat a first start that fails: server-up is waiting to report why.
    """
    signals = SignalWaiter()
    try:
        sock = launcher.listening_socket(config)
    except OSError as error:
        log("ERROR", launcher.listen_error(config, error))
        return launcher.EXIT_CANNOT_START
    delay_s, code, first = FIRST_DELAY_S, 0, True
    child_config = replace(
        config,
        socket_fd=sock.fileno(),
        supervise=False,
        dies_with_parent=True,
        deleted_at_exit=None,
        notify=_without_server_down(config.notify),
    )
    while not signals.stopping:
        started = time.monotonic()
        child = _start(child_config)
        while child.poll() is None:
            signals.sleep(1.0)
            if signals.stopping:
                child.send_signal(signal.SIGTERM)
                child.wait()
                break
        code = child.returncode
        if signals.stopping or code == 0 or (first and code == launcher.EXIT_CANNOT_START):
            break
        first = False
        lifetime_s = time.monotonic() - started
        delay_s = FIRST_DELAY_S if lifetime_s > STABLE_AFTER_S else delay_s
        log(
            "ERROR",
            f"the server ended with {_exit_text(code)} after {lifetime_s:.0f} s; restarting it in {delay_s:.1f} s",
        )
        config.tell_down(f"it ended with {_exit_text(code)} and starts again")
        signals.sleep(delay_s)
        delay_s = min(2 * delay_s, LONGEST_DELAY_S)
    config.delete_state_file()
    return max(code, 0) if not signals.stopping else 0


def _without_server_down(target: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return who is told by the server itself: that it went down, the supervisor tells."""
    if not target:
        return None
    return {**target, "events": [event for event in target["events"] if event != SERVER_DOWN]}


def _start(config: ServerConfig) -> subprocess.Popen[bytes]:
    assert config.socket_fd is not None
    child = subprocess.Popen(
        [sys.executable, "-m", "mlctl.tracking_server"],
        stdin=subprocess.PIPE,
        pass_fds=(config.socket_fd,),
        env={**os.environ, "MLCTL_PARENT": str(os.getpid())},
    )
    assert child.stdin is not None
    child.stdin.write(config.to_json())
    child.stdin.close()
    return child


def _exit_text(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
