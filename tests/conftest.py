"""What all tests share: a world of their own, and `needs(part)`, which skips where a part is absent.

MLCTL_TEST_ALL=1 (set by .ci/run, which installs every part) turns such a skip into a failure.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts import s3 as s3_part
from tests.store import make_store
from tests.trained import TINY, Trained, train_here, trained
from tests.zygote import Zygote
from tests.zygote import running as run_zygote


def _data(name: str) -> Callable[[], bool]:
    return lambda: (Path(os.environ.get("MLCTL_DATA_DIR", "data")) / name).is_file()


def _program(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


# part -> (is it here?, what to do where it is not)
PARTS: dict[str, tuple[Callable[[], bool], str]] = {
    "imdb": (_data("imdb.npz"), "put imdb.npz and imdb_word_index.json into MLCTL_DATA_DIR"),
    "mnist": (_data("mnist.npz"), "put mnist.npz into MLCTL_DATA_DIR"),
    "housing.csv": (_data("housing.csv"), "put housing.csv into MLCTL_DATA_DIR"),
    "bash": (_program("bash"), "install bash"),
    "zsh": (_program("zsh"), "install zsh"),
    "fish": (_program("fish"), "install fish"),
    "postgres": (
        lambda: bool(shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))),
        "install Debian's postgresql",
    ),
    "nginx": (lambda: bool(shutil.which("nginx") or Path("/usr/sbin/nginx").exists()), "install nginx"),
    "openssl": (_program("openssl"), "install openssl"),
    "browser": (_program("chromium", "google-chrome"), "install chromium"),
    "ray": (lambda: bool(importlib.util.find_spec("ray")), "install the ray extra"),
    "s3": (lambda: s3_part.program() is not None, "install the test extra"),
}


MOST_RETRIES = 3  # more retried tests than this in one run are a fault, not a busy machine
PROCESS_EVENTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"}
_unit_test: list[str] = []  # the unit test that runs now


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without unit tests if only those are wanted: importing the others takes a minute."""
    if config.option.markexpr == "unit" and collection_path.suffix == ".py":
        return "pytest.mark.unit" not in collection_path.read_text(encoding="utf-8") or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which more tests were retried than a busy machine explains."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    retried = {report.nodeid for report in reporter.stats.get("rerun", [])} if reporter else set()
    if len(retried) > MOST_RETRIES and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    retried = {report.nodeid for report in terminalreporter.stats.get("rerun", [])}
    terminalreporter.write_line(f"retried: {len(retried)} tests, of at most {MOST_RETRIES}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        present, remedy = PARTS[mark.args[0]]
        if present():
            continue
        reason = f"{mark.args[0]} is absent: {remedy}"
        if os.environ.get("MLCTL_TEST_ALL"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes a user's own configuration, cache or state, and all see 100 columns."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CONFIG", "CACHE", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / f"xdg-{name.lower()}"))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(scope="session")
def s3() -> Iterator[s3_part.S3]:
    """Run a real S3 service; tests that ask for it carry @pytest.mark.needs("s3")."""
    with s3_part.running() as service:
        yield service


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Start mlctl processes that need not import TensorFlow and MLflow each."""
    with run_zygote() as zygote:
        yield zygote


pytest_plugins = ["tests.tracking_store"]  # the stores that tests of looking read


@pytest.fixture(scope="session")
def thousand_runs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the tracking URI of a store of 1,000 runs; look, don't write."""
    return make_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """`mlctl train digits`, by the command itself; some dozens of assertions share it."""
    arguments = ("digits", "--tag", "team=vision", "--run-name", "first digits")
    return trained(tmp_path_factory.mktemp("digits"), *arguments)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """The other recipes on little synthetic data, and a user's own in bfloat16, all in one store."""
    folder = tmp_path_factory.mktemp("small")
    tiny = folder / "tiny.py"
    tiny.write_text(TINY)
    stand_in: dict[str, Any] = {"data": "synthetic"}
    imdb = {"epochs": 6, "vocabulary": 500, "units": 10, "batch_size": 64}
    return {
        "imdb": train_here(folder, "imdb", overrides=imdb, rows=800, **stand_in),
        "housing": train_here(folder, "housing", overrides={"epochs": 3}, rows=400, **stand_in),
        "mnist-mlp": train_here(folder, "mnist-mlp", overrides={"epochs": 2}, rows=300, **stand_in),
        "tiny": train_here(folder, str(tiny), precision="mixed_bfloat16", tags={"team": "vision"}),
    }
