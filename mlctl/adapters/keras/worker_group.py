"""Starts worker processes, and calls all of them at once."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Protocol

from mlctl.adapters.storage.shared_storage import SharedStorage
from mlctl.recipes.keras_import import WORKER_VARIABLE


class WorkerLostError(Exception):
    """A worker process has died."""


class WorkerFailedError(Exception):
    """A worker has raised an exception."""


class WorkerGroup(Protocol):
    """The workers of one training.

    Attributes:
        size: number of workers.
        storage: where they find their job and their data.
        source: the recipe, as they find it.
    """

    size: int
    storage: SharedStorage
    source: str

    def start(self) -> None:
        """Start the processes, again if they have run before, and connect them."""

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of each `Worker`; return the answers. Raises WorkerLostError and WorkerFailedError."""

    def close(self) -> None:
        """End the processes."""


class WorkerProcess:
    """One worker process on this machine, which ends with this object's process."""

    def __init__(self, backend: str) -> None:
        """Start it."""
        self._pipe, theirs = Pipe()
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            WORKER_VARIABLE: "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # TensorFlow and other workers use the same GPU
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        # its errors come through the pipe; JAX and TensorFlow write to stderr what is none
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlctl.adapters.keras.worker", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the process that records the run
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of its `Worker`; raises WorkerLostError and WorkerFailedError."""
        try:
            self._pipe.send((method, arguments))
            outcome, value = self._pipe.recv()
        except (EOFError, OSError) as exc:
            raise WorkerLostError(f"a worker process ended: {self._last_line()}") from exc
        if outcome == "error":
            raise WorkerFailedError(value)
        return value

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        self._log.close()

    def _last_line(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else f"exit status {self._process.returncode}"


class LocalWorker:
    """A group of one worker on this machine."""

    size = 1

    def __init__(self, backend: str, source: str) -> None:
        """Take the backend and the recipe; `start` starts the process."""
        self._backend, self.source = backend, source
        self._folder = tempfile.TemporaryDirectory(prefix="mlctl-worker-")
        self.storage = SharedStorage(self._folder.name)
        self._process: WorkerProcess | None = None

    def start(self) -> None:
        """Start the process."""
        self._end()
        self._process = WorkerProcess(self._backend)

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of the worker."""
        assert self._process is not None
        return [self._process.call(method, *arguments)]

    def close(self) -> None:
        """End the process, and delete its files."""
        self._end()
        self._folder.cleanup()

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None


def put_pickle(storage: SharedStorage, key: str, content: bytes) -> None:
    """Store pickled content for the workers."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / key
        file.write_bytes(content)
        storage.put(key, file)
