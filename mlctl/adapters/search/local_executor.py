"""Worker processes on this machine: one process that has imported everything, and forks a worker a slot.

    this process --fork--> zygote (one thread, no TensorFlow operation run) --fork--> worker, worker, …

A fork shares what was imported and the encoded data, so that a worker is there in a tenth of a second, and a
killed one is replaced as quickly. Each dies with its parent (Linux's PR_SET_PDEATHSIG). Where a fork is not
safe (macOS, or a GPU whose driver is up) workers are started anew, and die when their connection closes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from mlctl.adapters.keras import runtime
from mlctl.adapters.search.messages import (
    EpochEnded,
    Event,
    Setup,
    Train,
    TrialEnded,
    TrialFailed,
    TrialJob,
    WorkerLost,
)
from mlctl.errors import ChildFailedError

PR_SET_PDEATHSIG = 1


class Executor(Protocol):
    """What trains trials: processes here, or tasks on a cluster."""

    def free(self) -> int:
        """Return how many trials could be started now."""

    def start(self, job: TrialJob) -> None:
        """Have a trial trained."""

    def answer(self, trial: str, go_on: bool) -> None:
        """Tell a trial that waits after an epoch whether to go on."""

    def events(self, timeout_s: float) -> list[Event]:
        """Return what has happened, at the latest after `timeout_s`."""

    def close(self) -> None:
        """End every trial and every process, at once."""


class Worker:
    """One worker process, and the trial that it trains."""

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid = pid
        self.connection = connection
        self.job: TrialJob | None = None


class LocalExecutor:
    """Executor of this machine: `slots` workers with `threads` threads each."""

    def __init__(self, setup: Setup, train: Train, slots: int, threads: int, fork: bool) -> None:
        """Make the pool before this process starts threads or runs a TensorFlow operation.

        `train` trains a trial; where workers are started anew, its module is what they run.
        """
        self._starter: _Zygote | _Spawner = (_Zygote if fork else _Spawner)(setup, train, threads)
        self._workers = [self._starter.worker() for _ in range(slots)]

    def free(self) -> int:
        """Return how many workers have nothing to do."""
        return sum(one.job is None for one in self._workers)

    def start(self, job: TrialJob) -> None:
        """Give a trial to a free worker."""
        worker = next(one for one in self._workers if one.job is None)
        worker.job = job
        with contextlib.suppress(OSError):  # a worker that is gone is found by `events`
            worker.connection.send(job)

    def answer(self, trial: str, go_on: bool) -> None:
        """Tell a waiting trial whether to go on."""
        for worker in self._workers:
            if worker.job and worker.job.trial == trial:
                with contextlib.suppress(OSError):
                    worker.connection.send(go_on)

    def events(self, timeout_s: float) -> list[Event]:
        """Return what workers have told; a worker that died is replaced, and its trial is Lost."""
        found: list[Event] = []
        ready = wait([one.connection for one in self._workers], timeout_s)
        for number, worker in enumerate(self._workers):
            if worker.connection not in ready:
                continue
            try:
                event: Event = worker.connection.recv()
            except (EOFError, OSError):
                worker.connection.close()
                self._workers[number] = self._starter.worker()
                if worker.job:
                    found.append(
                        WorkerLost(worker.job.trial, worker.job.attempt, f"process {worker.pid} died")
                    )
                continue
            if isinstance(event, (TrialEnded, TrialFailed)):
                worker.job = None
            found.append(event)
        return found

    def close(self) -> None:
        """End every process at once."""
        self._starter.close()
        for worker in self._workers:
            worker.connection.close()


class _Zygote:
    """The process that forks workers."""

    def __init__(self, setup: Setup, train: Train, threads: int) -> None:
        gc.collect()
        gc.freeze()  # else the collector would write to every page, and nothing would be shared
        self._control, theirs = socket.socketpair()
        with theirs:
            self._pid = _forked(lambda: self._serve(theirs, setup, train, threads))

    def worker(self) -> Worker:
        """Return a new worker."""
        try:
            self._control.send(b"f")
            said, descriptors, _, _ = socket.recv_fds(self._control, 16, 1)
        except OSError:
            said, descriptors = b"", []
        if not descriptors:
            raise ChildFailedError(
                "the process that starts workers died", "mlctl resume goes on with the search"
            )
        return Worker(int(said), Connection(descriptors[0]))

    def close(self) -> None:
        """Kill the zygote; its workers die with it."""
        if self._control.fileno() < 0:
            return
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _serve(self, control: socket.socket, setup: Setup, train: Train, threads: int) -> None:
        self._control.close()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps dead workers
        while control.recv(1):
            ours, theirs = socket.socketpair()

            def work(mine: socket.socket = theirs, other: socket.socket = ours) -> None:
                control.close()
                other.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                serve(setup, train, Connection(mine.detach()), threads)

            pid = _forked(work)
            theirs.close()
            socket.send_fds(control, [str(pid).encode()], [ours.fileno()])
            ours.close()


class _Spawner:
    """Workers as fresh processes, which map the encoded data from a file; each has one of the GPUs to itself."""

    def __init__(self, setup: Setup, train: Train, threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mlctl-search-")
        self._file = Path(self._folder.name) / "setup"
        self._threads = threads
        self._module = train.__module__
        self._gpus = runtime.gpus_by_number()
        self._processes: list[tuple[subprocess.Popen[bytes], str]] = []
        setup.save(self._file)

    def worker(self) -> Worker:
        """Return a new worker."""
        ours, theirs = socket.socketpair()
        at_work = [gpu for process, gpu in self._processes if process.poll() is None]
        gpu = min(self._gpus, key=at_work.count, default="")
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", self._module, str(self._file), str(theirs.fileno()), str(self._threads)],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})},
            )  # fmt: skip
        self._processes.append((process, gpu))
        return Worker(process.pid, Connection(ours.detach()))

    def close(self) -> None:
        """Kill every worker."""
        for process, _ in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()
        self._folder.cleanup()


def _forked(work: Callable[[], None]) -> int:
    """Fork a child that does `work` and leaves, deaf to Ctrl-C and never outliving its parent; return its pid."""
    parent = os.getpid()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of BLAS libraries, which fork well
        pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the search hears it, and ends its workers
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _die_with(parent)
        work()
    finally:
        os._exit(0)


def serve(setup: Setup, train: Train, connection: Connection, threads: int) -> None:
    """Train what comes down the connection until it closes."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    gc.enable()
    with contextlib.suppress(EOFError, OSError):
        while True:
            job: TrialJob = connection.recv()

            def tell(event: EpochEnded, job: TrialJob = job) -> bool:
                connection.send(event)
                return bool(connection.recv()) if job.waits else True

            connection.send(train(setup, job, tell))
            gc.collect()  # the last model's graphs are full of cycles


def be_worker(train: Train, file: str, descriptor: str, threads: str) -> None:
    """Be a worker that was started anew: what a worker's own module runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with(os.getppid())
    runtime.import_keras()
    serve(Setup.load(Path(file)), train, Connection(int(descriptor)), int(threads))
    os._exit(0)


def _die_with(parent: int) -> None:
    """Have the system kill this process when its parent dies; where it cannot, a closed connection does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
