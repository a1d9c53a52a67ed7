"""System metrics of a run: what is measured, when it is recorded, and that lists and comparisons leave it out."""

from __future__ import annotations

import sys
import threading
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlctl import settings as configuration
from mlctl.adapters.runlog.local_runs import to_run
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.system import system_metrics
from mlctl.adapters.system.provenance import available_cores
from mlctl.adapters.system.system_metrics import SystemMetrics, SystemSampler
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import NullProgress
from mlctl.domain.run_queries import RunField
from mlctl.services.runs.fields import read_field
from mlctl.settings import SYSTEM_METRICS_VARIABLE

pytestmark = pytest.mark.unit

CPU = "system/cpu_utilization_percentage"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_metrics, "INTERVAL_S", 0.01)
    monkeypatch.setenv(SYSTEM_METRICS_VARIABLE, "true")


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def create(folder: Path) -> Recorder:
    return Recorder.create(
        TrackingStore("sqlite:///none.db"),
        experiment="e",
        run_name="r",
        tags={},
        state_dir=folder,
        listener=NullProgress(),
        offline=True,
    )


def test_names_are_those_of_mlflow() -> None:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    names = set(SystemSampler().sample())
    monitors: list[Any] = [CPUMonitor(), NetworkMonitor()]
    for monitor in monitors:
        monitor.collect_metrics()
        assert {f"system/{name}" for name in monitor.aggregate_metrics()} <= names


def test_what_belongs_to_this_process_is_measured(tmp_path: Path) -> None:
    sampler = SystemSampler()
    began, spent = time.monotonic(), time.process_time()
    while time.process_time() - spent < 0.05:
        pass
    data = bytearray(50_000_000)
    sample = sampler.sample()
    busy = 100 * (time.process_time() - spent) / (time.monotonic() - began) / available_cores()
    # the kernel counts in hundredths of a second; the main thread may have waited for the processor
    assert 0 < sample[CPU] <= busy * 1.5 + 100 * 0.02 / (time.monotonic() - began)
    memory = sample["system/system_memory_usage_megabytes"]
    assert len(data) / 1e6 < memory < psutil.virtual_memory().total / 1e6
    assert sampler.sample()["system/disk_write_megabytes"] >= 0


def test_only_own_gpus_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    own = psutil.Process().pid
    nvml = types.SimpleNamespace(
        NVMLError=RuntimeError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetComputeRunningProcesses=lambda device: [
            types.SimpleNamespace(pid=-1, usedGpuMemory=7_000_000_000),
            *([types.SimpleNamespace(pid=own, usedGpuMemory=2_000_000_000)] if device == 1 else []),
        ],
        nvmlDeviceGetMemoryInfo=lambda _: types.SimpleNamespace(total=8_000_000_000),
        nvmlDeviceGetUtilizationRates=lambda _: types.SimpleNamespace(gpu=31),
        nvmlDeviceGetPowerUsage=lambda _: 250_000,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    sample = SystemSampler().sample()
    assert {name: value for name, value in sample.items() if "gpu" in name} == {
        "system/gpu_1_memory_usage_megabytes": 2000,
        "system/gpu_1_memory_usage_percentage": 25,
        "system/gpu_1_utilization_percentage": 31,
        "system/gpu_1_power_usage_watts": 250,
    }


def test_a_run_records_samples_in_order_also_after_a_resume(tmp_path: Path, quick: None) -> None:
    recorder = create(tmp_path)
    recorder.log_metrics({"val_f1": 0.5}, step=1)
    eventually(lambda: recorder._system_step > 2)
    recorder.finish("KILLED")
    steps = _steps(recorder)
    assert steps == list(range(len(steps)))
    run = to_run(recorder.journal)
    assert set(run.metrics) == {"val_f1"}
    assert run.system_metrics[CPU] == read_field(run, RunField("metric", CPU))

    resumed = Recorder.reopen(
        recorder.journal.folder,
        TrackingStore("sqlite:///none.db"),
        header=recorder.journal.header,
        listener=NullProgress(),
    )
    eventually(lambda: resumed._system_step > len(steps))
    resumed.finish("KILLED")
    assert _steps(resumed) == list(range(len(_steps(resumed))))
    assert [entry["kind"] for entry in resumed.journal.entries()][-1] == "finish"
    assert "mlctl-system-metrics" not in [thread.name for thread in threading.enumerate()]


def _steps(recorder: Recorder) -> list[int]:
    return [
        step
        for entry in recorder.journal.entries()
        if entry["kind"] == "points"
        for name, _, step, _ in entry["points"]
        if name == CPU
    ]


def test_they_end_if_the_users_code_records_its_own(tmp_path: Path, quick: None) -> None:
    recorder = create(tmp_path)
    assert recorder._system is not None
    recorder.log_points([(CPU, 99.0, 0, 0)])
    assert recorder._system is None
    recorder.finish("KILLED")


@pytest.mark.parametrize(
    ("text", "variable", "enabled"),
    [
        ("", "", True),
        ("", "false", False),
        ("", "TRUE", True),
        ("system_metrics = false", "", False),
        ("system_metrics = false", "true", True),
    ],
)
def test_they_can_be_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, variable: str, enabled: bool
) -> None:
    monkeypatch.setenv(SYSTEM_METRICS_VARIABLE, variable)
    (tmp_path / "mlctl.toml").write_text(text, encoding="utf-8")
    settings = configuration.load(folder=tmp_path)
    assert settings.system_metrics is enabled
    settings.apply_to_environment()
    recorder = create(tmp_path)
    assert (recorder._system is not None) is enabled
    recorder.finish("KILLED")


def test_a_machine_that_tells_nothing_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "virtual_memory", fail)
    recorded: list[Mapping[str, float]] = []
    SystemMetrics(recorded.append).close()
    assert recorded == []
