"""A real store of 1,000 runs: MLflow creates the schema, experiments and models, and SQL inserts the runs."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

SETUP = """
import sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
digits = client.create_experiment("digits")
client.create_experiment("it's \\"odd\\": one")
run = client.create_run(digits, run_name="first")
gone = client.create_run(digits, run_name="deleted-run")
client.delete_run(gone.info.run_id)
for name in ("wine-quality", "churn"):
    client.create_registered_model(name)
for _ in range(3):
    client.create_model_version("wine-quality", "/nowhere", run.info.run_id)
client.set_registered_model_alias("wine-quality", "champion", "2")
"""
# no name starts with characters of an id: one id is random, and completion could find two matches
UNUSUAL_NAMES = ("my name with blanks", "lr:0.01=new", "it's $HOME", 'say "hi"', "näht")


def make_store(folder: Path, runs: int = 1000) -> str:
    """Return the tracking URI of a new store in this folder."""
    file = folder / "mlflow.db"
    uri = f"sqlite:///{file}"
    subprocess.run([sys.executable, "-c", SETUP, uri], check=True, capture_output=True)
    with sqlite3.connect(file) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(runs)")]
        first = dict(
            zip(columns, database.execute("SELECT * FROM runs WHERE name = 'first'").fetchone(), strict=True)
        )
        rows = []
        for number in range(runs):
            name = UNUSUAL_NAMES[number] if number < len(UNUSUAL_NAMES) else f"digits-{number:04d}"
            values = {"run_uuid": f"{number:04x}" + "f" * 28, "name": name, "start_time": 10**12 * 2 + number}
            rows.append([{**first, **values}[column] for column in columns])
        marks = ", ".join("?" * len(columns))
        database.executemany(f"INSERT INTO runs ({', '.join(columns)}) VALUES ({marks})", rows)
        name_at, id_at = columns.index("name"), columns.index("run_uuid")
        tags = [("mlflow.runName", row[name_at], row[id_at]) for row in rows]
        database.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", tags)
    return uri
