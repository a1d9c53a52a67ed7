"""The server's own processes: database statistics, lazy packages, and the configuration that they read."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mlctl.domain.heartbeat import LOST_AFTER_S
from mlctl.notifications import NotifyTarget
from mlctl.tracking_server import launcher, lazy_packages, lost_runs, maintenance
from mlctl.tracking_server.server_config import ServerConfig

pytestmark = pytest.mark.unit


def test_open_connections_use_new_statistics(tmp_path: Path) -> None:
    """Otherwise a server that started with an empty database keeps the query plans of an empty database."""
    file = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(file, cached_statements=0)) as worker:
        worker.executescript(
            "CREATE TABLE metrics (x); CREATE TABLE runs (x, y);"
            "CREATE INDEX few ON runs (x); CREATE INDEX many ON runs (y); INSERT INTO runs VALUES (1, 1);"
        )

        def query_plan() -> str:
            worker.execute("SELECT count(*) FROM runs").fetchall()  # EXPLAIN alone does not read the file
            rows = worker.execute("EXPLAIN QUERY PLAN SELECT * FROM runs WHERE x = 1 AND y = 1")
            return str(rows.fetchall())

        for values, index in (("n, 1", "few"), ("1, n", "many")):
            worker.execute("DELETE FROM runs")
            worker.execute(
                "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 2000)"
                f" INSERT INTO runs SELECT {values} FROM c"
            )
            worker.execute("INSERT INTO metrics VALUES (1)")  # the number of rows must have changed
            worker.commit()
            maintenance.refresh_statistics(f"sqlite:///{file}")
            assert f"INDEX {index} " in query_plan()


@pytest.mark.parametrize(
    ("table", "is_watched"),
    [
        (None, False),
        ({"url": "http://127.0.0.1:9/", "events": ["promotion"]}, False),
        ({"url": "http://127.0.0.1:9/", "events": ["run_lost"]}, True),
    ],
)
def test_only_a_server_with_a_receiver_looks_for_lost_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: dict[str, Any] | None, is_watched: bool
) -> None:
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread))
    values = {**config_values(tmp_path / "main.json"), "notify": table}
    lost_runs.start(ServerConfig.from_json(json.dumps(values).encode()))
    assert bool(started) == is_watched


def test_a_lost_run_is_told_about_once() -> None:
    now = time.time()
    heartbeats = {"lost": now - LOST_AFTER_S - 9, "alive": now, "long ago": now - lost_runs.OLD_AFTER_S - 9}
    runs = [lost_runs.RunningRun(name, name, "digits", f"{at:.0f}") for name, at in heartbeats.items()]
    runs.append(lost_runs.RunningRun("by another client", "", "digits", None))
    watch = lost_runs.LostRuns(NotifyTarget(url="http://127.0.0.1:9/"), "peer")
    assert [run.run_id for run in watch.check(runs)] == ["lost"]
    assert watch.check(runs) == []
    assert watch.check([]) == []
    assert [run.run_id for run in watch.check(runs)] == ["lost"]  # it came back, and was lost again


def test_a_package_is_loaded_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "wsgiref"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    lazy_packages.defer_imports("wsgiref")
    import wsgiref.headers as package
    from wsgiref.headers import Headers

    annotation = Headers | None
    assert annotation is not None
    assert not isinstance([], Headers)
    assert getattr(package, "__file__", None) is None  # nothing is loaded yet
    headers = Headers([("a", "b")])
    assert headers["a"] == "b"
    assert isinstance(headers, Headers)
    assert isinstance(headers, package.Headers)
    assert sys.modules["wsgiref.headers"].__file__

    class Subclass(Headers):  # type: ignore[misc, valid-type]
        pass

    assert isinstance(Subclass(), type(headers))


def config_values(state_file: Path) -> dict[str, object]:
    """Return a configuration as an older supervisor sends it to the server that it restarts."""
    return {
        "name": "main",
        "instance": "x",
        "host": "",
        "port": 0,
        "backend_uri": "",
        "artifact_root": "",
        "artifacts_destination": None,
        "note": None,
        "told": str(state_file),
    }


def test_the_server_allows_the_grace_period_that_server_down_wrote(tmp_path: Path) -> None:
    state_file = tmp_path / "main.json"
    config = ServerConfig.from_json(json.dumps(config_values(state_file)).encode())
    assert launcher._grace_s(config) == launcher.DEFAULT_GRACE_S
    state_file.write_text('{"grace_s": 90.0}')
    assert launcher._grace_s(config) > 90


def test_the_keys_of_a_configuration_stay_those_of_older_versions(tmp_path: Path) -> None:
    values = config_values(tmp_path / "main.json")
    config = ServerConfig.from_json(json.dumps(values).encode())
    assert config.state_file == values["told"]
    assert config.deleted_at_exit is None
    written = json.loads(config.to_json())
    assert {key: written[key] for key in values} == values
