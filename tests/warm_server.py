"""A process that imports mlctl, TensorFlow and MLflow once, and forks a child for each mlctl command.

Each command is a process of its own, with its own environment, streams and signals; only the imports are shared.
All tests of a session share one server, also those of several pytest-xdist workers. It ends when the last of them has
ended. Tests of what happens during the imports use `python -m mlctl` instead, and so does a test that sends signals to
the command, unless it uses the fixture `zygote`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import functools
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from tests import new_schema
from tests.parts import eventually

ROOT = Path(__file__).parents[1]
FOLDER_VARIABLE = "WARM_MLCTL_FOLDER"  # conftest.py sets it for all workers of a session
SERVERS_VARIABLE = (
    "WARM_MLCTL_SERVERS"  # socket of the process that forks tracking servers, for commands that start them
)
COLD_COMMAND = (sys.executable, "-m", "mlctl")
# what most commands import, except for what reads the user's environment when it is imported, as Typer and Rich do
MODULES = (
    *("mlctl.services.training.sync", "mlctl.services.training.training", "mlctl.services.workflows.train"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
    *("mlflow.tracking", "mlflow.pyfunc", "alembic.command", "sqlalchemy.dialects.sqlite.pysqlite"),
    *("tf2onnx.convert", "onnxruntime", "sklearn.linear_model", "sklearn.metrics", "pyarrow"),
    *("mlctl.adapters.models.save", "mlctl.adapters.plots.style"),
)
# a program that runs mlctl in a child of the server, with its arguments, folder, environment and streams
CLIENT = """\
#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect({address!r})
    request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(s, [len(request).to_bytes(4, "big")], [0, 1, 2])
    s.sendall(request)
    pid, code = s.makefile()
    sys.exit(int(code) if int(code) >= 0 else 128 - int(code))
"""


def warm_command(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the start of a command line for mlctl that skips the imports, if the session and the environment permit it.

    Keras has one backend in a process, and the server has imported it on TensorFlow.
    """
    if FOLDER_VARIABLE not in os.environ or "KERAS_BACKEND" in environment:
        return COLD_COMMAND
    return (str(server_folder() / "mlctl"),)


@functools.cache
def server_folder() -> Path:
    """Return the folder of the session's server, with its sockets and the program `mlctl`; start it if none runs."""
    folder = Path(os.environ[FOLDER_VARIABLE])
    with FileLock(folder / "lock"):
        lease = socket.socket(socket.AF_UNIX)
        try:
            lease.connect(str(folder / "leases"))
        except OSError:
            _start(folder)
            lease.connect(str(folder / "leases"))
    _leases.append(lease)
    return folder


_leases: list[socket.socket] = []  # the server runs as long as a process of the session holds one


def _start(folder: Path) -> None:
    for name in ("socket", "leases"):
        (folder / name).unlink(missing_ok=True)
    client = folder / "mlctl"
    client.write_text(CLIENT.format(python=sys.executable, address=str(folder / "socket")))
    client.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm_server", str(folder)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        # a user's shell does not have the variables that the test process has set for MLflow
        env={name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
        start_new_session=True,
    )
    eventually(lambda: (folder / "leases").exists() or process.poll() is not None, 240)
    assert process.poll() is None, "the server process has ended"


def connect(
    arguments: list[str], cwd: Path, environment: Mapping[str, str], streams: tuple[int, int, int]
) -> tuple[int, socket.socket]:
    """Start a command; return its process id, and a socket on which the server sends its exit code."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(server_folder() / "socket"))
    request = json.dumps([arguments, str(cwd), dict(environment)]).encode()
    socket.send_fds(connection, [len(request).to_bytes(4, "big")], streams)
    connection.sendall(request)
    pid = b""
    while not pid.endswith(b"\n"):  # the exit code, which comes later, stays in the socket
        received = connection.recv(1)
        assert received, "the server process has ended"
        pid += received
    return int(pid), connection


def _prepare(folder: Path) -> None:
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.fast_imports():
        for module in MODULES:
            importlib.import_module(module)
    import tests.parts.server_zygote  # noqa: F401

    new_schema.use_copies(folder / "schema.db")


def _serve(folder: Path) -> None:
    _prepare(folder)
    listener, leases_listener = (_listen(folder / name) for name in ("socket", "leases"))
    leases: list[socket.socket] = []
    connections: dict[int, socket.socket] = {}  # by the process id of the command
    wake_up, signal_number = socket.socketpair()
    signal_number.setblocking(False)
    wake_up.setblocking(False)
    signal.set_wakeup_fd(signal_number.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the select below
    while True:
        readable, _, _ = select.select([listener, leases_listener, wake_up, *leases], [], [])
        if wake_up in readable:
            wake_up.recv(1 << 16)
            _report_ends(connections)
        if leases_listener in readable:
            leases.append(leases_listener.accept()[0])
        ended = [lease for lease in leases if lease in readable]
        leases = [lease for lease in leases if lease not in ended]
        if ended and not leases:
            break
        if listener in readable:
            connection, _ = listener.accept()
            if (pid := os.fork()) == 0:
                for other in (
                    listener,
                    leases_listener,
                    wake_up,
                    signal_number,
                    *leases,
                    *connections.values(),
                ):
                    other.close()
                _run_command(connection)
            connections[pid] = connection
            with contextlib.suppress(OSError):
                connection.sendall(f"{pid}\n".encode())
    for pid in connections:
        os.kill(pid, signal.SIGKILL)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


def _report_ends(connections: dict[int, socket.socket]) -> None:
    """Send the exit codes of the commands that have ended; of one that a signal ended, the negative signal number."""
    for pid in list(connections):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with connections.pop(pid) as connection, contextlib.suppress(OSError):  # the client may be gone
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _run_command(connection: socket.socket) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where it is ignored
    size, fds, _, _ = socket.recv_fds(connection, 4, 3)
    request = b""
    while len(request) < int.from_bytes(size, "big"):
        request += connection.recv(1 << 16)
    connection.close()  # the server reports the end, also if a process that this one starts goes on
    arguments, cwd, environment = json.loads(request)
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    _forget_folders_of_the_server()
    faulthandler.register(signal.SIGUSR1)  # to see where a process hangs
    sys.argv = ["mlctl", *arguments]
    sys.path[0] = str(Path(sys.executable).parent)  # as for the program mlctl
    if servers := environment.get(SERVERS_VARIABLE):
        from tests.parts import server_zygote

        server_zygote.fork_servers(servers)
    import mlctl.__main__

    sys.modules["__main__"] = mlctl.__main__  # processes that multiprocessing spawns look it up
    try:
        mlctl.__main__.main()
    except SystemExit as exc:
        os._exit(exc.code if isinstance(exc.code, int) else 1)
    sys.stdout.flush()
    os._exit(0)


def _forget_folders_of_the_server() -> None:
    """Set the default folders of mlctl's settings, which depend on the environment, for the command."""
    import platformdirs

    from mlctl import settings

    defaults = {"cache_dir": platformdirs.user_cache_dir, "state_dir": platformdirs.user_state_dir}
    specs = {
        name: dataclasses.replace(settings.SETTINGS[name], default=folder("mlctl"))
        for name, folder in defaults.items()
    }
    settings.SETTINGS = {**settings.SETTINGS, **specs}


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
