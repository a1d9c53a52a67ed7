"""Starting the server again when it crashes: soon at first, ever later when it keeps crashing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mlctl.tracking_server import launcher
from mlctl.tracking_server.parent_death import say
from mlctl.tracking_server.server_config import ServerConfig
from mlctl.tracking_server.signals import SignalWaiter

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 30.0
STEADY_AFTER_S = 60.0


def supervise(plan: ServerConfig) -> int:
    """Keep a server running until SIGTERM or SIGINT; return the exit code.

    The listening socket stays open here, so what clients send while the server starts again waits for it.
    A first start that fails is not repeated: whoever began it is waiting to hear why.
    """
    wakeful = SignalWaiter()
    try:
        sock = launcher.listening_socket(plan)
    except OSError as error:
        say("ERROR", launcher.cannot_listen(plan, error))
        return launcher.CANNOT_START
    wait_s, code, first = FIRST_WAIT_S, 0, True
    while not wakeful.stopping:
        started = time.monotonic()
        child = _start(
            plan.changed(socket_fd=sock.fileno(), supervise=False, dies_with_parent=True, note=None)
        )
        while child.poll() is None:
            wakeful.sleep(1.0)
            if wakeful.stopping:
                child.send_signal(signal.SIGTERM)
                child.wait()
                break
        code = child.returncode
        if wakeful.stopping or code == 0 or (first and code == launcher.CANNOT_START):
            break
        first = False
        lived = time.monotonic() - started
        wait_s = FIRST_WAIT_S if lived > STEADY_AFTER_S else wait_s
        say(
            "ERROR",
            f"the server ended with {_named(code)} after {lived:.0f} s; starting it again in {wait_s:.1f} s",
        )
        wakeful.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    if plan.note:
        Path(plan.note).unlink(missing_ok=True)
    return max(code, 0) if not wakeful.stopping else 0


def _start(plan: ServerConfig) -> subprocess.Popen[bytes]:
    assert plan.socket_fd is not None
    child = subprocess.Popen(
        [sys.executable, "-m", "mlctl.tracking_server"],
        stdin=subprocess.PIPE,
        pass_fds=(plan.socket_fd,),
        env={**os.environ, "MLCTL_PARENT": str(os.getpid())},
    )
    assert child.stdin is not None
    child.stdin.write(plan.to_json())
    child.stdin.close()
    return child


def _named(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
