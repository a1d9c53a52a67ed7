"""Worker processes on this machine, forked by a process that has imported everything.

    this process --fork--> zygote (one thread, no TensorFlow operation run) --fork--> worker, worker, …

A fork shares the imported modules and the encoded data. A worker therefore starts in a tenth of a second, and a
killed one is replaced as quickly. Each process dies with its parent. If forking is not safe (macOS, a GPU whose
driver is in use, or a recipe whose `load` has run TensorFlow), workers are started as new processes, and end when
their connection closes.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path

from mlctl import machine
from mlctl.adapters.keras import runtime
from mlctl.adapters.search.messages import (
    EpochEnded,
    Event,
    TrainTrial,
    TrialEnd,
    TrialFailed,
    TrialJob,
    TrialSetup,
    WorkerLost,
)
from mlctl.adapters.system.forks import describe_exit, fork, wait_for
from mlctl.domain.short_texts import describe_error
from mlctl.errors import ChildFailedError
from mlctl.machine import die_with_parent

_REQUEST = struct.Struct("=q")  # to the process that forks workers: 0 for a new one, or a dead one's pid


class Worker:
    """One worker process, and the trial that it trains."""

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid = pid
        self.connection = connection
        self.job: TrialJob | None = None


class LocalExecutor:
    """Executor of this machine: `slots` workers with `threads` threads each."""

    def __init__(
        self, setup: TrialSetup, train_trial: TrainTrial, *, slots: int, threads: int, fork: bool
    ) -> None:
        """Start the workers. Call this before this process starts threads or runs a TensorFlow operation.

        Without `fork`, workers run the module of `train_trial`, which must call `run_worker`.
        """
        starter = _Zygote if fork else _Spawner
        self._starter: _Zygote | _Spawner = starter(setup, train_trial, threads)
        self._oom_kills = machine.count_oom_kills()
        self._workers = [self._starter.start_worker() for _ in range(slots)]

    def free_slots(self) -> int:
        """Return how many workers are idle."""
        return sum(worker.job is None for worker in self._workers)

    def start(self, job: TrialJob) -> None:
        """Send a trial to an idle worker."""
        worker = next(worker for worker in self._workers if worker.job is None)
        worker.job = job
        with contextlib.suppress(OSError):  # `events` detects a worker that has died
            worker.connection.send(job)

    def answer(self, trial: str, proceed: bool) -> None:
        """Tell a waiting trial whether to continue."""
        for worker in self._workers:
            if worker.job and worker.job.trial == trial:
                with contextlib.suppress(OSError):
                    worker.connection.send(proceed)

    def stop(self, trial: str) -> None:
        """Kill the process of a trial; `events` replaces it."""
        for worker in self._workers:
            if worker.job and worker.job.trial == trial:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)

    def events(self, timeout_s: float) -> list[Event]:
        """Return the workers' events; replace a worker that died, and report its trial as WorkerLost."""
        events: list[Event] = []
        ready = wait([worker.connection for worker in self._workers], timeout_s)
        for number, worker in enumerate(self._workers):
            if worker.connection not in ready:
                continue
            try:
                event: Event = worker.connection.recv()
            except (EOFError, OSError):
                worker.connection.close()
                status = self._starter.wait(worker.pid)
                reason = f"process {worker.pid} died{self._cause(status)}"
                self._workers[number] = self._starter.start_worker()
                if job := worker.job:
                    events.append(WorkerLost(job.trial, job.attempt, reason))
                continue
            if isinstance(event, TrialEnd):
                worker.job = None
            events.append(event)
        return events

    def _cause(self, status: int) -> str:
        """Return how a process ended, by its exit status as `os.waitstatus_to_exitcode` returns it."""
        kills, before = machine.count_oom_kills(), self._oom_kills
        self._oom_kills = kills
        if status == -signal.SIGKILL and kills > before:
            return " (killed by the system: out of memory)"
        return describe_exit(status)

    def close(self) -> None:
        """End every process at once."""
        self._starter.close()
        for worker in self._workers:
            worker.connection.close()


class _Zygote:
    """The process that forks workers."""

    def __init__(self, setup: TrialSetup, train_trial: TrainTrial, threads: int) -> None:
        gc.collect()
        gc.freeze()  # otherwise the collector writes to every page, and forks share none of them
        self._control, child_control = socket.socketpair()
        with child_control:
            self._pid = fork(lambda: self._fork_workers(child_control, setup, train_trial, threads))

    def start_worker(self) -> Worker:
        """Return a new worker."""
        try:
            self._control.send(_REQUEST.pack(0))
            pid, descriptors, _, _ = socket.recv_fds(self._control, 16, 1)
        except OSError:
            pid, descriptors = b"", []
        if not descriptors:
            raise ChildFailedError(
                "the process that starts workers died", "resume the search: mlctl resume RUN"
            )
        return Worker(int(pid), Connection(descriptors[0]))

    def wait(self, pid: int) -> int:
        """Return the exit status of a worker that has died."""
        try:
            self._control.send(_REQUEST.pack(pid))
            return int(self._control.recv(16) or b"0")
        except OSError:
            return 0

    def close(self) -> None:
        """Kill the zygote; its workers die with it."""
        if self._control.fileno() < 0:
            return
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def _fork_workers(
        self, control: socket.socket, setup: TrialSetup, train_trial: TrainTrial, threads: int
    ) -> None:
        """Fork a worker for each 0 that arrives, and send its pid and its connection back.

        For the pid of a dead worker, send its exit status back.
        """
        self._control.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        while request := control.recv(_REQUEST.size):
            if dead := _REQUEST.unpack(request)[0]:
                control.send(str(wait_for(dead)).encode())
                continue
            search_end, worker_end = socket.socketpair()

            def work(own: socket.socket = worker_end, other: socket.socket = search_end) -> None:
                control.close()
                other.close()
                _train_trials(setup, train_trial, Connection(own.detach()), threads)

            pid = fork(work)
            worker_end.close()
            socket.send_fds(control, [str(pid).encode()], [search_end.fileno()])
            search_end.close()


class _Spawner:
    """Starts workers as new processes, which map the encoded data from a file. Each uses one GPU."""

    def __init__(self, setup: TrialSetup, train_trial: TrainTrial, threads: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="mlctl-search-")
        self._setup_file = Path(self._folder.name) / "setup"
        self._threads = threads
        self._module = train_trial.__module__
        self._gpus = runtime.visible_gpus()
        self._processes: list[tuple[subprocess.Popen[bytes], str]] = []
        setup.save(self._setup_file)

    def start_worker(self) -> Worker:
        """Return a new worker, on the GPU with the fewest workers."""
        search_end, worker_end = socket.socketpair()
        used_gpus = [gpu for process, gpu in self._processes if process.poll() is None]
        gpu = min(self._gpus, key=used_gpus.count, default="")
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if gpu:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        descriptor = worker_end.fileno()
        with worker_end:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    self._module,
                    str(self._setup_file),
                    str(descriptor),
                    str(self._threads),
                ],
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        self._processes.append((process, gpu))
        return Worker(process.pid, Connection(search_end.detach()))

    def wait(self, pid: int) -> int:
        """Return the exit status of a worker that has died."""
        return next((process.wait() for process, _ in self._processes if process.pid == pid), 0)

    def close(self) -> None:
        """Kill every worker."""
        for process, _ in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()
        self._folder.cleanup()


def _train_trials(setup: TrialSetup, train_trial: TrainTrial, connection: Connection, threads: int) -> None:
    """Train the jobs that arrive until the connection closes."""
    setup.prepare_process(threads)
    gc.enable()
    with contextlib.suppress(EOFError, OSError):
        while True:
            job: TrialJob = connection.recv()

            def report_epoch(event: EpochEnded, job: TrialJob = job) -> bool:
                connection.send(event)
                return bool(connection.recv()) if job.waits else True

            connection.send(train_trial(setup, job, report_epoch))
            gc.collect()  # the graphs of the last model have reference cycles


def run_worker(
    train_trial: TrainTrial,
    load_setup: Callable[[Path], TrialSetup],
    *,
    setup_file: str,
    descriptor: str,
    threads: str,
) -> None:
    """Run a worker in a new process.

    The module of `train_trial` calls this with its command line arguments, which are the last three here.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(os.getppid())
    connection = Connection(int(descriptor))
    try:
        setup = load_setup(Path(setup_file))
    except Exception as error:
        _fail_trials(error, connection)
    else:
        _train_trials(setup, train_trial, connection, int(threads))
    os._exit(0)


def _fail_trials(error: Exception, connection: Connection) -> None:
    """Answer every job with the error for which this worker has no data."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            job: TrialJob = connection.recv()
            connection.send(TrialFailed(job.trial, job.attempt, describe_error(error)))
