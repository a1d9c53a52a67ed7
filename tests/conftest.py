"""Fixtures and hooks for all tests.

`@pytest.mark.needs(part)` skips a test if a part, such as a program or a data file, is absent. MLCTL_TEST_ALL=1
turns such a skip into a failure; .ci/run sets it, because it installs every part.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.parts import mariadb as mariadb_part
from tests.parts import postgres as postgres_part
from tests.parts import s3 as s3_part
from tests.shared import make_once
from tests.store import make_store
from tests.trained import TINY, Trained, train_here, trained
from tests.warm_server import FOLDER_VARIABLE
from tests.zygote import Zygote
from tests.zygote import running as run_zygote

pytest_plugins = ["tests.tracking_store"]

# a slow machine must not add metrics to the runs of tests; those of system metrics turn them on
os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")


@dataclass(frozen=True)
class Part:
    """Something that a test needs and that a machine may lack."""

    is_present: Callable[[], bool]
    remedy: str


def _data(name: str) -> Callable[[], bool]:
    return lambda: (Path(os.environ.get("MLCTL_DATA_DIR", "data")) / name).is_file()


def _program(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


PARTS = {
    "imdb": Part(_data("imdb.npz"), "put imdb.npz and imdb_word_index.json into MLCTL_DATA_DIR"),
    "mnist": Part(_data("mnist.npz"), "put mnist.npz into MLCTL_DATA_DIR"),
    "housing.csv": Part(_data("housing.csv"), "put housing.csv into MLCTL_DATA_DIR"),
    "bash": Part(_program("bash"), "install bash"),
    "zsh": Part(_program("zsh"), "install zsh"),
    "fish": Part(_program("fish"), "install fish"),
    "postgres": Part(lambda: postgres_part.programs() is not None, "install Debian's postgresql"),
    "mariadb": Part(lambda: mariadb_part.program() is not None, "install Debian's mariadb-server"),
    "nginx": Part(_program("nginx", "/usr/sbin/nginx"), "install nginx"),
    "openssl": Part(_program("openssl"), "install openssl"),
    "browser": Part(_program("chromium", "google-chrome"), "install chromium"),
    "ray": Part(lambda: importlib.util.find_spec("ray") is not None, "install the ray extra"),
    "jax": Part(lambda: importlib.util.find_spec("jax") is not None, "install the jax extra"),
    "s3": Part(lambda: s3_part.program() is not None, "install the test extra"),
}

MAX_RETRIED_TESTS = 3  # a busy machine does not explain more retried tests than this in one run
PROCESS_EVENTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"}
KERAS_PACKAGES = {"keras", "tensorflow"}  # unit tests do not import these
_unit_test: list[str] = []  # the unit test that runs now


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore files without unit tests if pytest runs only unit tests: the imports of the others take a minute."""
    if config.option.markexpr == "unit" and collection_path.suffix == ".py":
        return "pytest.mark.unit" not in collection_path.read_text(encoding="utf-8") or None
    return None


# files with many long tests of one kind: a run takes every third; MLCTL_TEST_LONG=1 runs all, and what is marked as long
SAMPLED_FILES = {
    "test_callbacks.py",
    "test_code.py",
    "test_gallery.py",
    "test_general_models.py",
    "test_keras_export.py",
    "test_recipe_errors.py",
    "test_script_fit.py",
    "test_training_state.py",
    "test_tune_run.py",
}


# files that take longest: they run first, so that the last minutes keep all workers busy
LONG_FILES = (
    "test_script_mlflow.py", "test_tune.py", "test_docs.py", "test_automl.py", "test_outage.py", "test_server_life.py", "test_resume.py",
    "test_gallery.py", "test_kills.py", "test_endpoints.py", "test_server_keeping.py", "test_server_restore.py",
    "test_tune_run.py", "test_earlier_version.py", "test_cluster.py", "test_own.py", "test_ten_files.py",
    "test_replicas.py", "test_export_formats.py", "test_server_mysql.py", "test_backends.py", "test_story.py",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of the server that all workers of the session share; see tests/warm_server.py."""
    if not hasattr(config, "workerinput"):
        os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix="warm-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(FOLDER_VARIABLE), ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not os.environ.get("MLCTL_TEST_LONG"):
        sampled = [item for item in items if item.path.name in SAMPLED_FILES]
        left_out = {item.nodeid for number, item in enumerate(sampled) if number % 3}
        left_out |= {item.nodeid for item in items if item.path.parent.name == "soak"}
        left_out |= {item.nodeid for item in items if item.get_closest_marker("long")}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left_out])
        items[:] = [item for item in items if item.nodeid not in left_out]
    order = {name: number for number, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
    for item in items:
        if item.get_closest_marker("live"):
            item.add_marker(pytest.mark.flaky(reruns=1))


def _refuse_processes(event: str, _: tuple[Any, ...]) -> None:
    if _unit_test and event in PROCESS_EVENTS:
        raise AssertionError(f"{_unit_test[0]} is marked as a unit test and starts a process")


sys.addaudithook(_refuse_processes)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if item.get_closest_marker("unit"):
        _unit_test.append(item.nodeid)
    yield
    _unit_test.clear()


def _retried(terminal_reporter: Any) -> set[str]:
    return {report.nodeid for report in terminal_reporter.stats.get("rerun", [])}


def _imported_keras(config: pytest.Config) -> list[str]:
    return sorted(KERAS_PACKAGES & set(sys.modules)) if config.option.markexpr == "unit" else []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if more tests were retried than a busy machine explains, or if unit tests imported Keras."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    too_many = reporter is not None and len(_retried(reporter)) > MAX_RETRIED_TESTS
    if (too_many or _imported_keras(session.config)) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    terminalreporter.write_line(
        f"{len(_retried(terminalreporter))} tests retried (limit: {MAX_RETRIED_TESTS})"
    )
    if packages := _imported_keras(config):
        terminalreporter.write_line(
            f"ERROR: a module with unit tests imports {', '.join(packages)}", red=True
        )


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        part = PARTS[mark.args[0]]
        if part.is_present():
            continue
        reason = f"{mark.args[0]} is absent: {part.remedy}"
        if os.environ.get("MLCTL_TEST_ALL"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def _isolated_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's configuration, cache and state out of all tests, and set a width of 100 columns."""
    for name in ("TRACKING_URI", "REGISTRY_URI", "EXPERIMENT_NAME", "RUN_ID"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    registry = sys.modules.get("mlflow.tracking._model_registry.utils")
    if registry is not None:  # a test before this one in the same worker may have chosen a registry
        monkeypatch.setattr(registry, "_registry_uri", None)
    for name in ("CONFIG", "CACHE", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / f"xdg-{name.lower()}"))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="session")
def s3() -> Iterator[s3_part.S3]:
    """Run a real S3 server. Tests that use it are marked with @pytest.mark.needs("s3")."""
    with s3_part.running() as service:
        yield service


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Start mlctl processes that share their imports of TensorFlow and MLflow. Those that still run at the end are killed."""
    with run_zygote() as zygote:
        yield zygote


@pytest.fixture(scope="session")
def thousand_runs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the tracking URI of a store of 1,000 runs. Tests only read it."""
    template, _ = make_once(tmp_path_factory, "thousand-runs", make_store)
    folder = tmp_path_factory.mktemp("thousand-runs")
    return f"sqlite:///{shutil.copy(template / 'mlflow.db', folder)}"


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The result of `mlctl train digits` in its own process. Tests only read it."""

    def train(folder: Path) -> Any:
        return trained(folder, "digits", "--tag", "team=vision", "--run-name", "first digits").to_json()

    folder, result = make_once(tmp_path_factory, "digits", train)
    return Trained(folder, **result)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """The results of the other recipes on few synthetic rows, and of a user's recipe, in one store. Tests only read it."""

    def train(folder: Path) -> Any:
        (folder / "tiny.py").write_text(TINY)
        synthetic: dict[str, Any] = {"data": "synthetic"}
        imdb = {"epochs": 6, "vocabulary": 500, "units": 10, "batch_size": 64}
        results = {
            "imdb": train_here(folder, "imdb", overrides=imdb, rows=800, **synthetic),
            "housing": train_here(folder, "housing", overrides={"epochs": 3}, rows=400, **synthetic),
            "mnist-mlp": train_here(folder, "mnist-mlp", overrides={"epochs": 2}, rows=300, **synthetic),
            "tiny": train_here(
                folder, str(folder / "tiny.py"), precision="mixed_bfloat16", tags={"team": "vision"}
            ),
        }
        return {name: result.to_json() for name, result in results.items()}

    folder, results = make_once(tmp_path_factory, "small", train)
    return {name: Trained(folder, **result) for name, result in results.items()}
