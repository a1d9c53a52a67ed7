"""A shell in which `mlctl` starts without the cost of its imports, for scripts with pipes, cd and &&.

`mlctl` on the script's PATH is a short client. It sends its arguments, working directory, environment and open
files to a server process that has imported everything once; the server forks a child that runs the command.
Tests of what happens during the imports use `python -m mlctl` instead.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts import eventually

ROOT = Path(__file__).parents[1]
# sends stdin, stdout and stderr as well; the answer is the exit code, or empty if the command was killed
CLIENT = f"""\
#!{sys.executable} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(os.environ["WARM_MLCTL"])
    request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(s, [len(request).to_bytes(4, "big")], [0, 1, 2])
    s.sendall(request)
    sys.exit(int(s.recv(4) or 137))
"""


@dataclass(frozen=True)
class WarmShell:
    """Runs scripts in bash."""

    folder: Path

    def run(self, script: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script and wait for its end; stdout contains both streams."""
        path = [str(self.folder), str(Path(sys.executable).parent), os.environ["PATH"]]
        return subprocess.run(
            ["bash", "-c", script],
            cwd=cwd,
            env={
                **os.environ,
                **environment,
                "WARM_MLCTL": str(self.folder / "socket"),
                "PATH": os.pathsep.join(path),
            },
            text=True,
            timeout=400,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


@contextlib.contextmanager
def running() -> Iterator[WarmShell]:
    """Run the server process. When it ends, it kills the commands that still run."""
    with tempfile.TemporaryDirectory(prefix="warm-") as name:
        folder = Path(name)
        client, server_socket = folder / "mlctl", folder / "socket"
        client.write_text(CLIENT)
        client.chmod(0o755)
        command = [sys.executable, "-m", "tests.warm_shell", str(server_socket)]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
        try:
            eventually(lambda: server_socket.exists() or process.poll() is not None, 120)
            assert process.poll() is None, "the server process has ended"
            yield WarmShell(folder)
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait(20)


def _serve(socket_path: str) -> None:
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.fast_imports():
        import mlctl.services.training.training  # noqa: F401
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(socket_path)
    listener.listen()
    connections: dict[int, socket.socket] = {}  # by the pid of the command
    while True:
        readable, _, _ = select.select([0, listener], [], [], 0.02)
        for pid in list(connections):
            if os.waitpid(pid, os.WNOHANG) != (0, 0):
                connections.pop(pid).close()
        if 0 in readable:
            for pid in connections:
                os.kill(pid, signal.SIGKILL)
            return
        if listener in readable:
            connection, _ = listener.accept()
            if (pid := os.fork()) == 0:
                listener.close()
                _run_command(connection)
            connections[pid] = connection


def _run_command(connection: socket.socket) -> None:
    size, fds, _, _ = socket.recv_fds(connection, 4, 3)
    request = b""
    while len(request) < int.from_bytes(size, "big"):
        request += connection.recv(1 << 16)
    arguments, cwd, environment = json.loads(request)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    # processes that the command starts import mlctl from the same place
    python_path = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    os.environ.update(environment, PYTHONPATH=python_path)
    sys.argv = ["mlctl", *arguments]
    from mlctl.cli.app import run

    code = run(arguments)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    connection.sendall(str(code).encode())
    os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
