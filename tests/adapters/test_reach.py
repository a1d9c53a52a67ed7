"""Whether a store answers is asked before anything is loaded."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from mlctl.adapters.tracking.health import check_reachable

DIES_WRITING = """
import os, sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("pragma cache_size=1")
file.execute("begin")
for _ in range(2000):
    file.execute("insert into t values (randomblob(900))")
os._exit(9)
"""


def test_a_database_whose_writer_was_killed_is_mended_and_answers(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with sqlite3.connect(file) as made:
        made.execute("create table t (x)")
        made.execute("insert into t values (1)")
    made.close()
    subprocess.run([sys.executable, "-c", DIES_WRITING, str(file)], check=False)
    assert file.with_name("mlflow.db-journal").exists()
    check_reachable(f"sqlite:///{file}")
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as read:
        assert read.execute("select count(*) from t").fetchone() == (1,)
