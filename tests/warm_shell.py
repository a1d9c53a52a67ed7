"""A shell whose `mlctl` starts without paying for imports: scripts with pipes, cd and && cost what they do.

`mlctl` on the script's PATH is a client of some lines: it hands its arguments, folder, environment and open
files to a child that has imported everything once, which forks the command. What happens during imports is
tested elsewhere, with `python -m mlctl`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# stdin, stdout and stderr travel along; the answer is the exit code, and none where the command was killed
CLIENT = f"""\
#!{sys.executable} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(os.environ["WARM_MLCTL"])
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(s, [len(asked).to_bytes(4, "big")], [0, 1, 2])
    s.sendall(asked)
    sys.exit(int(s.recv(4) or 137))
"""


@dataclass(frozen=True)
class WarmShell:
    """Runs scripts in bash."""

    folder: Path

    def run(self, script: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script to its end; both streams come together in stdout."""
        found = {
            **os.environ, **environment, "WARM_MLCTL": str(self.folder / "socket"),
            "PATH": f"{self.folder}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        return subprocess.run(
            ["bash", "-c", script], cwd=cwd, env=found, text=True, timeout=400, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


@contextlib.contextmanager
def running() -> Iterator[WarmShell]:
    """Make such a shell; what it started and did not end is ended with it."""
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        folder = Path(name)
        (folder / "mlctl").write_text(CLIENT)
        (folder / "mlctl").chmod(0o755)
        root = Path(__file__).parents[1]
        command = [sys.executable, "-m", "tests.warm_shell", str(folder / "socket")]
        process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE)
        try:
            until = time.monotonic() + 120
            while not (folder / "socket").exists():
                assert process.poll() is None, "the warm shell has ended"
                assert time.monotonic() < until, "the warm shell does not start"
                time.sleep(0.05)
            yield WarmShell(folder)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(20)


def _serve(place: str) -> None:
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.fast_imports():
        import mlctl.services.training.training  # noqa: F401
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen()
    asking: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([0, listener], [], [], 0.02)
        for pid in list(asking):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                continue
            asking.pop(pid).close()
        if 0 in ready:
            for pid in asking:
                os.kill(pid, signal.SIGKILL)
            return
        if listener in ready:
            asked, _ = listener.accept()
            if (pid := os.fork()) == 0:
                listener.close()
                _become(asked)
            asking[pid] = asked


def _become(asked: socket.socket) -> None:
    size, fds, _, _ = socket.recv_fds(asked, 4, 3)
    text = b""
    while len(text) < int.from_bytes(size, "big"):
        text += asked.recv(1 << 16)
    arguments, folder, environment = json.loads(text)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.setsid()
    os.chdir(folder)
    _put(environment)
    sys.argv = ["mlctl", *arguments]
    from mlctl.cli.app import run

    code = run(arguments)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    asked.sendall(str(code).encode())
    os._exit(code)


def _put(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    # the caller's python finds the same packages
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parents[1]), environment.get("PYTHONPATH", "")]
    )


if __name__ == "__main__":
    _serve(sys.argv[1])
