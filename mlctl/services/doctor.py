"""mlctl doctor: what is installed, set, reachable and free, and how to mend what is not well."""

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
from mlctl.adapters.runlog.journal import read_about
from mlctl.adapters.system.provenance import cores
from mlctl.adapters.tracking import health
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import NullProgress
from mlctl.domain.project import Check, Diagnosis
from mlctl.errors import MlctlError, NotFoundError
from mlctl.services import completion
from mlctl.services.models.registry_state import agrees, look
from mlctl.services.recipes import defaults
from mlctl.settings import Settings

DISTRIBUTION = "mlctl-keras"
SHOWN = ("mlflow", "keras", "tensorflow", "numpy", "onnxruntime", "scikit-learn")
FREE_DISK_GB, FREE_MEMORY_GB = 2.0, 1.0
MOST_BUCKETS = 4


def examine(settings: Settings, deep: bool) -> Diagnosis:
    """Look at everything; `deep` also imports TensorFlow and trains. A failure is a finding, never raised."""
    checks = [_python(), *_packages(), _processor(), _memory(), *_disk(settings), _completion()]
    checks += _defaults(settings)
    checks += _tracking(settings)
    checks += _unsent(settings)
    if deep:
        checks += _trained(settings)
    return Diagnosis(tuple(checks), tuple(settings.listing()))


def _python() -> Check:
    said = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check(
        "python", sys.version_info >= (3, 11), said, "" if sys.version_info >= (3, 11) else "use 3.11+"
    )


def _packages() -> Iterator[Check]:
    wrong = []
    for line in requires(DISTRIBUTION) or ():
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            wrong.append(f"{wanted.name} is not installed")
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            wrong.append(f"{wanted.name} {found}, wanted {wanted.specifier}")
    named = ", ".join(f"{name} {_version(name)}" for name in SHOWN)
    if wrong:
        yield Check("packages", False, "; ".join(wrong), f"pip install --upgrade {DISTRIBUTION}")
    else:
        yield Check("packages", True, named)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _processor() -> Check:
    model, flags = runtime.cpu()
    known = [one for one in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if one in flags]
    said = f"{model}, {cores()} cores" + (f", {' '.join(known)}" if known else "")
    slow = platform.machine() == "x86_64" and bool(flags) and "avx2" not in flags
    return Check(
        "processor", not slow, said, "TensorFlow's wheels need AVX2: use another machine" if slow else ""
    )


def _memory() -> Check:
    try:
        page, gb = os.sysconf("SC_PAGE_SIZE"), 1e9
        total, free = os.sysconf("SC_PHYS_PAGES") * page / gb, _available_pages() * page / gb
    except (ValueError, OSError):
        return Check("memory", True, "this system does not tell")
    enough = free >= FREE_MEMORY_GB
    return Check(
        "memory", enough, f"{free:.1f} of {total:.1f} GB free", "" if enough else "end what takes the memory"
    )


def _available_pages() -> float:
    """Return free memory in pages; on Linux with what the kernel would give back."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float(os.sysconf("SC_PHYS_PAGES"))  # macOS counts no free pages that mean anything
    found = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
    return int(found) * 1024 / os.sysconf("SC_PAGE_SIZE")


def _disk(settings: Settings) -> Iterator[Check]:
    for name, folder in (
        ("cache_dir", settings.cache_dir),
        ("state_dir", settings.state_dir),
        ("here", Path.cwd()),
    ):
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(there).free / 1e9
        if not os.access(there, os.W_OK):
            yield Check(
                f"disk: {name}", False, f"{folder} cannot be written",
                f"set MLCTL_{name.upper()} to a folder that can" if name != "here" else "work in another folder",
            )  # fmt: skip
        else:
            enough = free >= FREE_DISK_GB
            yield Check(
                f"disk: {name}", enough, f"{free:.1f} GB free", "" if enough else f"make room in {there}"
            )


def _completion() -> Check:
    shell = Path(os.environ.get("SHELL", "")).name
    if shell not in ("bash", "zsh", "fish"):
        return Check("completion", True, "no shell that it is for")
    there = [file for file in completion.places(shell) if file.is_file()]
    # nothing is broken without it: no finding
    return Check(
        "completion", True, f"installed for {shell}" if there else f"not installed for {shell}",
        "" if there else "mlctl completion install",
    )  # fmt: skip


def _defaults(settings: Settings) -> Iterator[Check]:
    found = [Check("recipes", False, error.message, error.hint) for error in defaults.faults(settings)]
    if settings.recipes:
        yield from found or [Check("recipes", True, f"defaults of {', '.join(sorted(settings.recipes))}")]


def _tracking(settings: Settings) -> Iterator[Check]:
    """Look at the store, and at the buckets: the project's own, and those of the store's experiments."""
    places: set[str] = set()
    yield from _store(settings, places)
    yield from _buckets(settings, places)


def _store(settings: Settings, places: set[str]) -> Iterator[Check]:
    """Look at the store; its experiments' artifact locations join `places`."""
    uri = settings.tracking_uri
    try:
        health.check_reachable(uri)
        store = TrackingStore(uri)
        if not store.exists:
            yield Check("tracking", True, "not there yet: the first run makes it")
            return
        experiments = store.experiments_by_id
        yield Check("tracking", True, f"answers; {len(experiments)} experiments")
    except MlctlError as error:
        yield Check("tracking", False, error.message, error.hint)
        return
    yield from _registry(store)
    places.update(str(one.artifact_location) for one in experiments.values())


def _registry(store: TrackingStore) -> Iterator[Check]:
    try:
        registry = Registry(store)
        models = registry.models()
        astray = [model.name for model in models if not agrees(registry, look(registry, model.name))]
    except MlctlError as error:
        yield Check("registry", False, error.message, error.hint)
        return
    if astray:
        yield Check(
            "registry", False, f"stages disagree with their history: {', '.join(astray[:10])}",
            f"mlctl models show {astray[0]} sets it right",
        )  # fmt: skip
    else:
        yield Check("registry", True, f"{len(models)} models, stages as their history says")


def _buckets(settings: Settings, places: set[str]) -> Iterator[Check]:
    """Look at a few buckets at once: one that does not answer costs its time alone."""
    found = sorted({urlsplit(place).netloc for place in places if place.startswith("s3://")})
    own = (settings.bucket or "").removeprefix("s3://").strip("/")
    named = list(dict.fromkeys([own, *found] if own else found))[:MOST_BUCKETS]
    if named:
        with ThreadPoolExecutor(MOST_BUCKETS) as pool:
            yield from pool.map(
                _bucket, named, (settings.sources["bucket"] if one == own else "" for one in named)
            )


def _bucket(name: str, source: str) -> Check:
    """Put a bucket to the test; `source` says where the setting is that names it, "" where a store does."""
    from mlctl.adapters.storage import s3  # boto3 is slow to import, and only for those who have a bucket
    from mlctl.domain.server import Bucket

    try:
        s3.S3Storage(Bucket(name), patient=False).verify(create=False)
        return Check(f"bucket {name}", True, "takes and gives back")
    except NotFoundError as error:
        fix = f"mend bucket in {source}, or: mlctl server-up --create-bucket" if source else "create it again"
        return Check(f"bucket {name}", False, error.message, fix)
    except MlctlError as error:
        return Check(f"bucket {name}", False, error.message, error.hint)


def _unsent(settings: Settings) -> Iterator[Check]:
    waiting = [path for path in local_runs.folders(settings.state_dir) if not read_about(path).get("run_id")]
    if waiting:
        yield Check(
            "offline runs", False, f"{len(waiting)} runs are kept on this machine alone", "mlctl sync"
        )


def _trained(settings: Settings) -> Iterator[Check]:
    try:
        runtime.import_keras()
        found = runtime.hardware()
        yield Check(
            "devices", True, ", ".join(found.gpus) or f"no GPU; bfloat16 on the CPU: {found.bfloat16}"
        )
        with tempfile.TemporaryDirectory(prefix="mlctl-doctor-") as folder:
            run = _train_digits(dataclasses.replace(
                settings, tracking_uri=f"sqlite:///{folder}/mlflow.db", state_dir=Path(folder), experiment="doctor",
            ), Path(folder))  # fmt: skip
        yield Check("training", True, f"digits: test accuracy {run:.3f} of the logged model, loaded back")
    except MlctlError as error:
        yield Check("training", False, error.message, error.hint)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        yield Check("training", False, said, "mlctl train digits --debug shows where")


def _train_digits(settings: Settings, folder: Path) -> float:
    """Train, log and load back a digit model in a store of its own; return its test accuracy."""
    from mlctl.services.training.request import Request
    from mlctl.services.workflows.train import train

    before, opened = Path.cwd(), os.environ.pop("MLFLOW_RUN_ID", None)
    os.chdir(folder)  # artifacts of a sqlite store go where one stands
    try:
        run = train(settings, Request("digits", {"epochs": 3}), NullProgress())
    finally:
        os.chdir(before)
        if opened is not None:
            os.environ["MLFLOW_RUN_ID"] = opened
    return float(run.metrics["test_accuracy"])
