"""Whether a store answers is checked before MLflow is loaded."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from mlctl.adapters.tracking.health import check_reachable

WRITER_THAT_DIES = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("pragma cache_size=1")
connection.execute("begin")
for _ in range(2000):
    connection.execute("insert into t values (randomblob(900))")
os._exit(9)
"""


def test_database_of_a_killed_writer_is_repaired_and_answers(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("create table t (x)")
        connection.execute("insert into t values (1)")
    connection.close()
    subprocess.run([sys.executable, "-c", WRITER_THAT_DIES, str(file)], check=False)
    assert file.with_name("mlflow.db-journal").exists()
    check_reachable(f"sqlite:///{file}")
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as reader:
        assert reader.execute("select count(*) from t").fetchone() == (1,)
