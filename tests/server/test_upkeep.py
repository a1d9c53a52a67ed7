"""What a server's own process does without being asked: statistics that arrive, packages that are not loaded."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from pathlib import Path

import pytest

from mlctl.tracking_server import lazy_packages, maintenance


def test_open_connections_learn_of_new_statistics(tmp_path: Path) -> None:
    """Else a server that began with an empty database goes on choosing indexes for an empty one."""
    file = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(file, cached_statements=0)) as worker:
        worker.executescript(
            "CREATE TABLE metrics (x); CREATE TABLE runs (x, y);"
            "CREATE INDEX few ON runs (x); CREATE INDEX many ON runs (y); INSERT INTO runs VALUES (1, 1);"
        )

        def plan() -> str:
            worker.execute(
                "SELECT count(*) FROM runs"
            ).fetchall()  # explaining alone does not look at the file
            return str(
                worker.execute("EXPLAIN QUERY PLAN SELECT * FROM runs WHERE x = 1 AND y = 1").fetchall()
            )

        for distinct, index in (("n, 1", "few"), ("1, n", "many")):
            worker.execute("DELETE FROM runs")
            worker.execute(
                "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 2000)"
                f" INSERT INTO runs SELECT {distinct} FROM c"
            )
            worker.execute("INSERT INTO metrics VALUES (1)")  # something was logged meanwhile
            worker.commit()
            maintenance.refresh_statistics(f"sqlite:///{file}")
            assert f"INDEX {index} " in plan()


def test_a_package_is_loaded_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "wsgiref"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    lazy_packages.stand_in("wsgiref")
    import wsgiref.headers as package
    from wsgiref.headers import Headers

    annotation = Headers | None
    assert annotation is not None
    assert not isinstance([], Headers)
    assert getattr(package, "__file__", None) is None  # up to here nothing is loaded
    real = Headers([("a", "b")])
    assert real["a"] == "b"
    assert isinstance(real, Headers)
    assert isinstance(real, package.Headers)
    assert sys.modules["wsgiref.headers"].__file__

    class Mine(Headers):  # type: ignore[misc, valid-type]
        pass

    assert isinstance(Mine(), type(real))
