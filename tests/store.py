"""A real tracking store of 1,000 runs: MLflow creates the schema, experiments and models; SQL inserts the runs."""

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
deleted = client.create_run(digits, run_name="deleted-run")
client.delete_run(deleted.info.run_id)
for name in ("wine-quality", "churn"):
    client.create_registered_model(name)
for _ in range(3):
    client.create_model_version("wine-quality", "/nowhere", run.info.run_id)
client.set_registered_model_alias("wine-quality", "champion", "2")
"""
# no name starts with a hex digit: the random id of `first` could match the same prefix
METRICS = ("best_val_f1", "test_accuracy", "val_f1", "val_loss")  # of the newest run
UNUSUAL_NAMES = ("my name with blanks", "lr:0.01=new", "it's $HOME", 'say "hi"', "näht")


def make_store(folder: Path, runs: int = 1000) -> str:
    """Return the tracking URI of a new store in this folder."""
    file = folder / "mlflow.db"
    uri = f"sqlite:///{file}"
    subprocess.run([sys.executable, "-c", SETUP, uri], check=True, capture_output=True)
    with sqlite3.connect(file) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(runs)")]
        (values,) = database.execute("SELECT * FROM runs WHERE name = 'first'")
        first = dict(zip(columns, values, strict=True))
        rows = []
        for number in range(runs):
            name = UNUSUAL_NAMES[number] if number < len(UNUSUAL_NAMES) else f"digits-{number:04d}"
            run_id = f"{number:04x}" + "f" * 28
            rows.append({**first, "run_uuid": run_id, "name": name, "start_time": 10**12 * 2 + number})
        placeholders = ", ".join(f":{column}" for column in columns)
        database.executemany(f"INSERT INTO runs ({', '.join(columns)}) VALUES ({placeholders})", rows)
        database.executemany(
            "INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', :name, :run_uuid)", rows
        )
        database.executemany(  # of the newest run and of one that is too old to be looked at
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (?, 0.5, 0, 1, 0, ?)",
            [*((name, rows[-1]["run_uuid"]) for name in METRICS), ("old_metric", rows[0]["run_uuid"])],
        )
        database.execute(
            "INSERT INTO params (key, value, run_uuid) VALUES ('units', '8', :run_uuid)", rows[-1]
        )
    return uri
