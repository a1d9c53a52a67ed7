"""mlctl doctor: checks the installation, the settings, the servers and the machine, and suggests fixes."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from mlctl.adapters.keras import runtime
from mlctl.adapters.runlog import local_runs
from mlctl.adapters.runlog.journal import read_header
from mlctl.adapters.system.provenance import available_cores
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import NullProgress
from mlctl.domain.project import Diagnosis, DoctorCheck
from mlctl.domain.server import Bucket
from mlctl.domain.short_texts import describe_error
from mlctl.errors import MlctlError, NotFoundError
from mlctl.services.models.registry_state import read_all_states
from mlctl.services.project import completion
from mlctl.services.recipes import defaults
from mlctl.settings import Settings
from mlctl.units import count, format_size

DISTRIBUTION = "mlctl-keras"
MIN_PYTHON = (3, 11)
SHOWN_PACKAGES = ("mlflow", "keras", "tensorflow", "numpy", "onnxruntime", "scikit-learn")
SHOWN_CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
MIN_FREE_DISK, MIN_FREE_MEMORY = 2e9, 1e9  # bytes
MAX_BUCKETS = 4


def diagnose(settings: Settings, deep: bool) -> Diagnosis:
    """Run all checks; `deep` also imports TensorFlow and trains a model. A failure becomes a failed check."""
    checks = [
        _check_python(),
        _check_packages(),
        _check_processor(),
        _check_memory(),
        *_check_disks(settings),
        _check_completion(),
        *_check_recipe_defaults(settings),
        *_check_storage(settings),
        *_check_unsent_runs(settings),
    ]
    if deep:
        checks += _check_training(settings)
    return Diagnosis(tuple(checks), tuple(settings.listing()))


def _passed(name: str, found: str, fix: str = "") -> DoctorCheck:
    return DoctorCheck(name=name, ok=True, found=found, fix=fix)


def _failed(name: str, found: str, fix: str) -> DoctorCheck:
    return DoctorCheck(name=name, ok=False, found=found, fix=fix)


def _raised(name: str, error: MlctlError) -> DoctorCheck:
    return _failed(name, error.message, error.hint)


def _check_python() -> DoctorCheck:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < MIN_PYTHON:
        return _failed("python", found, "use Python 3.11 or newer")
    return _passed("python", found)


def _check_packages() -> DoctorCheck:
    problems = []
    for line in requires(DISTRIBUTION) or ():
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        installed = _version(requirement.name)
        if installed is None:
            problems.append(f"{requirement.name} is not installed")
        elif not requirement.specifier.contains(installed, prereleases=True):
            problems.append(f"{requirement.name} {installed}, required: {requirement.specifier}")
    if problems:
        return _failed("packages", "; ".join(problems), f"pip install --upgrade {DISTRIBUTION}")
    versions = [f"{name} {_version(name) or 'not installed'}" for name in SHOWN_PACKAGES]
    return _passed("packages", ", ".join(versions))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _check_processor() -> DoctorCheck:
    model, flags = runtime.read_cpu()
    shown = [flag for flag in SHOWN_CPU_FLAGS if flag in flags]
    found = f"{model}, {count(available_cores(), 'core')}" + (f", {' '.join(shown)}" if shown else "")
    if platform.machine() == "x86_64" and flags and "avx2" not in flags:
        return _failed("processor", found, "use another machine: TensorFlow's packages need AVX2")
    return _passed("processor", found)


def _check_memory() -> DoctorCheck:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return _passed("memory", "this system does not report it")
    free = _free_memory(total)
    found = f"{format_size(free)} of {format_size(total)} free"
    if free < MIN_FREE_MEMORY:
        return _failed("memory", found, "end programs that use much memory")
    return _passed("memory", found)


def _free_memory(total: int) -> int:
    """Return free memory in bytes, including what Linux can reclaim; `total` on systems that do not report it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return total  # macOS reports no useful number of free pages
    kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
    return int(kilobytes) * 1024


def _check_disks(settings: Settings) -> Iterator[DoctorCheck]:
    yield _check_disk("cache_dir", settings.cache_dir, "set MLCTL_CACHE_DIR to a writable folder")
    yield _check_disk("state_dir", settings.state_dir, "set MLCTL_STATE_DIR to a writable folder")
    yield _check_disk("here", Path.cwd(), "work in another folder")


def _check_disk(name: str, folder: Path, fix: str) -> DoctorCheck:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return _failed(f"disk: {name}", f"{folder} is not writable", fix)
    free = shutil.disk_usage(existing).free
    if free < MIN_FREE_DISK:
        return _failed(f"disk: {name}", f"{format_size(free)} free", f"delete files in {existing}")
    return _passed(f"disk: {name}", f"{format_size(free)} free")


def _check_completion() -> DoctorCheck:
    """Return whether completion is installed; a missing one is no failure."""
    shell = Path(os.environ.get("SHELL", "")).name
    if shell not in completion.SHELLS:
        return _passed("completion", "not available for this shell")
    if any(path.is_file() for path in completion.script_paths(shell)):
        return _passed("completion", f"installed for {shell}")
    return _passed("completion", f"not installed for {shell}", "mlctl completion install")


def _check_recipe_defaults(settings: Settings) -> list[DoctorCheck]:
    failed = [_raised("recipes", error) for error in defaults.faults(settings)]
    if failed or not settings.recipes:
        return failed
    return [_passed("recipes", f"defaults for {', '.join(sorted(settings.recipes))}")]


def _check_storage(settings: Settings) -> Iterator[DoctorCheck]:
    """Check the tracking store, its registry, and the buckets of the project and of the store's experiments."""
    store = TrackingStore(settings.tracking_uri)
    locations: list[str] = []
    try:
        store.check_reachable()
        if store.exists:
            experiments = store.experiments_by_id
            locations = [str(experiment.artifact_location) for experiment in experiments.values()]
            yield _passed("tracking", f"reachable, {count(len(experiments), 'experiment')}")
            yield _check_registry(store)
        else:
            yield _passed("tracking", "does not exist yet; the first run creates it")
    except MlctlError as error:
        yield _raised("tracking", error)
    yield from _check_buckets(settings, locations)


def _check_registry(store: TrackingStore) -> DoctorCheck:
    try:
        registry = Registry(store)
        states = read_all_states(registry)
    except MlctlError as error:
        return _raised("registry", error)
    changed = [state for state in states if state.foreign]
    if changed:
        name, message = changed[0].name, changed[0].disagreements[0]
        more = f"; {count(len(changed) - 1, 'more model')}" if changed[1:] else ""
        return _failed(
            "registry",
            f"{name}: {message}{more}",
            f"mlctl models reconcile {name} records the change; --restore undoes it",
        )
    return _passed("registry", f"{count(len(states), 'model')}, stages match their history")


def _check_buckets(settings: Settings, locations: list[str]) -> Iterator[DoctorCheck]:
    """Check a few buckets in parallel, so that one that does not answer does not delay the others."""
    used = sorted({urlsplit(uri).netloc for uri in locations if uri.startswith("s3://")})
    project_bucket = (settings.bucket or "").removeprefix("s3://").strip("/")
    buckets = list(dict.fromkeys([project_bucket, *used] if project_bucket else used))[:MAX_BUCKETS]
    sources = [settings.sources["bucket"] if bucket == project_bucket else "" for bucket in buckets]
    if buckets:
        with ThreadPoolExecutor(MAX_BUCKETS) as pool:
            yield from pool.map(_check_bucket, buckets, sources)


def _check_bucket(name: str, source: str) -> DoctorCheck:
    """Write to and read from a bucket; `source` is the file that sets it, or "" if an experiment uses it."""
    from mlctl.adapters.storage.artifact_store import open_artifact_bucket  # slow to import

    check = f"bucket {name}"
    try:
        open_artifact_bucket(Bucket(name=name), is_probe=True).verify(create=False)
    except NotFoundError as error:
        fix = f"correct bucket in {source}, or run mlctl server-up --create-bucket" if source else "create it"
        return _failed(check, error.message, fix)
    except MlctlError as error:
        return _raised(check, error)
    return _passed(check, "can be read and written")


def _check_unsent_runs(settings: Settings) -> Iterator[DoctorCheck]:
    folders = local_runs.record_folders(settings.state_dir)
    unsent = [folder for folder in folders if not read_header(folder).get("run_id")]
    if unsent:
        yield _failed("offline runs", f"{count(len(unsent), 'run')} only on this machine", "mlctl sync")


def _check_training(settings: Settings) -> Iterator[DoctorCheck]:
    try:
        runtime.import_keras()
        hardware = runtime.detect_hardware()
        gpus = ", ".join(hardware.gpus)
        yield _passed("devices", gpus or f"no GPU; bfloat16 on the CPU: {hardware.bfloat16}")
        accuracy = _train_digits(settings)
        yield _passed("training", f"digits: test accuracy {accuracy:.3f} of the logged model, loaded back")
    except MlctlError as error:
        yield _raised("training", error)
    except Exception as error:
        yield _failed("training", describe_error(error), "run mlctl train digits --debug for details")


def _train_digits(settings: Settings) -> float:
    """Train, log and load back a digit model in a temporary store; return its test accuracy."""
    from mlctl.services.training.request import TrainRequest
    from mlctl.services.workflows.train import train

    with tempfile.TemporaryDirectory(prefix="mlctl-doctor-") as folder:
        settings = dataclasses.replace(
            settings,
            tracking_uri=f"sqlite:///{folder}/mlflow.db",
            state_dir=Path(folder),
            experiment="doctor",
        )
        cwd, run_id = Path.cwd(), os.environ.pop("MLFLOW_RUN_ID", None)
        os.chdir(folder)  # MLflow writes the artifacts of a SQLite store to the working folder
        try:
            run = train(settings, TrainRequest(source="digits", overrides={"epochs": 3}), NullProgress())
        finally:
            os.chdir(cwd)
            if run_id is not None:
                os.environ["MLFLOW_RUN_ID"] = run_id
    return float(run.metrics["test_accuracy"])
