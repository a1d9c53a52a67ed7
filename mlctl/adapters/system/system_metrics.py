"""What this process and its children use of their machine, under the names of MLflow's system metrics.

MLflow measures the whole machine. This measures what belongs to the run, so that two runs on one machine differ.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil

from mlctl.adapters.system.provenance import available_cores
from mlctl.domain.metric_names import SYSTEM_PREFIX
from mlctl.errors import MlctlError
from mlctl.settings import SYSTEM_METRICS_VARIABLE

INTERVAL_S = 10.0
MB = 1e6


def start(record: Callable[[Mapping[str, float]], None]) -> SystemMetrics | None:
    """Record samples from now on; None if MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING turns them off."""
    value = os.environ.get(SYSTEM_METRICS_VARIABLE) or "true"
    return SystemMetrics(record) if value.strip().lower() in {"1", "true"} else None


class SystemSampler:
    """Measures since it was created; a thread calls `sample` now and then."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._cores = available_cores()
        self._total_memory = psutil.virtual_memory().total
        self._gpus = _OwnGpus.open()
        members = self._members()
        self._cpu_at, self._cpu_s = time.monotonic(), _cpu_s(members)
        self._disk = _disk_bytes(members)
        self._network = _network_bytes()

    def sample(self) -> dict[str, float]:
        """Return the metrics: the processor's share since the last call, memory now, transfers since the start."""
        members = self._members()
        now, cpu_s = time.monotonic(), _cpu_s(members)
        share = max(cpu_s - self._cpu_s, 0.0) / max(now - self._cpu_at, 1e-6) / self._cores
        self._cpu_at, self._cpu_s = now, cpu_s
        memory = 0
        for process in members:
            with contextlib.suppress(psutil.Error):
                memory += process.memory_info().rss
        values = {
            "cpu_utilization_percentage": 100 * share,
            "system_memory_usage_megabytes": memory / MB,
            "system_memory_usage_percentage": 100 * memory / self._total_memory,
        }
        names = (("disk_read_megabytes", "disk_write_megabytes"), self._disk, _disk_bytes(members))
        values |= _transferred(*names)
        names = (("network_receive_megabytes", "network_transmit_megabytes"), self._network, _network_bytes())
        values |= _transferred(*names)
        if self._gpus:
            values |= self._gpus.sample({process.pid for process in members})
        return {SYSTEM_PREFIX + name: round(value, 3) for name, value in values.items()}

    def _members(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error, OSError):
            return [self._process, *self._process.children(recursive=True)]
        return [self._process]


class SystemMetrics:
    """A thread that records a sample every ten seconds, until `close`."""

    def __init__(self, record: Callable[[Mapping[str, float]], None]) -> None:
        self._record = record
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlctl-system-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Record nothing more."""
        self._closed.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(1.0)

    def _work(self) -> None:
        # a machine that does not tell, or a disk that is full: the run goes on without
        with contextlib.suppress(psutil.Error, OSError, MlctlError):
            sampler = SystemSampler()
            while not self._closed.wait(INTERVAL_S):
                sample = sampler.sample()
                if not self._closed.is_set():
                    self._record(sample)


class _OwnGpus:
    """The NVIDIA GPUs that the run's own processes use; needs the package nvidia-ml-py."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._devices = [
            nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())
        ]

    @classmethod
    def open(cls) -> _OwnGpus | None:
        """Return the GPUs of this machine; None if there is none, or if nobody can tell."""
        try:
            import pynvml
        except ImportError:
            return None
        try:
            pynvml.nvmlInit()
            return cls(pynvml)
        except pynvml.NVMLError:
            return None

    def sample(self, pids: set[int]) -> dict[str, float]:
        """Return memory, use and power of each GPU on which one of these processes computes."""
        nvml, values = self._nvml, {}
        for number, device in enumerate(self._devices):
            with contextlib.suppress(nvml.NVMLError):
                processes = nvml.nvmlDeviceGetComputeRunningProcesses(device)
                own = [process for process in processes if process.pid in pids]
                if not own:
                    continue
                used = sum(process.usedGpuMemory or 0 for process in own)
                name = f"gpu_{number}_"
                values[name + "memory_usage_megabytes"] = used / MB
                values[name + "memory_usage_percentage"] = (
                    100 * used / nvml.nvmlDeviceGetMemoryInfo(device).total
                )
                # the driver tells these for a whole device only
                values[name + "utilization_percentage"] = nvml.nvmlDeviceGetUtilizationRates(device).gpu
                values[name + "power_usage_watts"] = nvml.nvmlDeviceGetPowerUsage(device) / 1000
        return values


def _cpu_s(members: Sequence[psutil.Process]) -> float:
    """Return the processor time of the processes, and of children that have ended."""
    seconds = 0.0
    for number, process in enumerate(members):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system
            if number == 0:
                seconds += times.children_user + times.children_system
    return seconds


def _disk_bytes(members: Sequence[psutil.Process]) -> tuple[int, int] | None:
    """Return the bytes that the processes have read and written; None if the system does not tell."""
    read = written = 0
    try:
        for process in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                counters = process.io_counters()
                read, written = read + counters.read_bytes, written + counters.write_bytes
    except (psutil.Error, AttributeError, OSError):
        return None
    return read, written


def _network_bytes() -> tuple[int, int] | None:
    """Return the bytes that were received and sent in this network namespace: Linux does not count by process."""
    counters = psutil.net_io_counters()
    return (counters.bytes_recv, counters.bytes_sent) if counters else None


def _transferred(
    names: Sequence[str], start: tuple[int, int] | None, now: tuple[int, int] | None
) -> dict[str, float]:
    if start is None or now is None:
        return {}
    return {name: max(after - before, 0) / MB for name, before, after in zip(names, start, now, strict=True)}
