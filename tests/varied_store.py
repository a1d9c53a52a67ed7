"""A tracking store with everything that clients may meet: odd names, deleted things, NaN, ties, prompts, stages."""

from __future__ import annotations

import contextlib
import itertools
import math
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from mlctl.adapters.tracking.store import TrackingStore


@dataclass(frozen=True)
class Stored:
    """A filled store, through both clients."""

    store: TrackingStore
    ids: dict[str, Any]

    @property
    def light(self) -> Any:
        """The client without MLflow."""
        return self.store.client

    @property
    def full(self) -> Any:
        """MLflow's own."""
        return self.store.mlflow_client


STARTED_MS = 1_700_000_000_000
TEXTS = (
    "plain", "", "Ünïcödé ✓", "it's", 'say "hi"', "100%", "under_score", "back\\slash", "UPPER", "upper",
    "two\nlines", "10", "1e1", "0.01", "nan", "?", "%s", "-- comment", "K\u0130\u212a",
)  # fmt: skip
VALUES = (0.0, 0.5, -1.5, 1e-9, 1e300, math.nan, math.inf, -math.inf, 3, 0.1 + 0.2)
COPIES = itertools.count(1)
STATUSES = ("FINISHED", "FAILED", "KILLED", "RUNNING", "SCHEDULED")
ODD_MODEL, PROMPT = 'it\'s a "modèl" 100%_\\', "greeting"


def fill(uri: str, execute: Callable[[str], Any], folder: Path) -> dict[str, Any]:
    """Fill an empty store through MLflow's client, and `execute` SQL for what only old versions wrote.

    Return ids: "experiments", "runs", "deleted" run, "named_model", "logged" model, "deleted_model".
    """
    import mlflow
    from mlflow.entities import Metric, Param, RunTag

    client = mlflow.MlflowClient(uri, registry_uri=uri)
    experiments = [
        client.create_experiment(name, artifact_location=str(folder / f"artifacts {number}"))
        for number, name in enumerate(("digits", 'it\'s "odd": één', "gone", "empty"))
    ]
    runs = []
    for number in range(30):
        experiment = experiments[0 if number % 3 else 1]
        start = STARTED_MS + number // 4 * 1000  # several runs start at the same time
        run_id = client.create_run(experiment, start_time=start, run_name=f"Run_{number % 7}").info.run_id
        value, text = VALUES[number % len(VALUES)], TEXTS[number % len(TEXTS)]
        metrics = [Metric("loss", value, start + 5, step) for step in (0, 1)]
        metrics += [Metric("loss", number / 8, start + 5, 1), Metric("loss", value, start + 9, 2)]
        if number % 2:
            metrics.append(Metric("val acc/top-1", number % 5 / 4, start, 0))
        params = [Param("p", text), Param("learning rate", TEXTS[(number * 5 + 1) % len(TEXTS)])]
        tags = [RunTag("owner", text), RunTag("mlctl.recipe", ("toy", "Other", "")[number % 3])]
        if number == 7:
            params, tags = [], []
        client.log_batch(run_id, metrics if number != 7 else [], params, tags)
        if (status := STATUSES[number % len(STATUSES)]) != "RUNNING":
            client.set_terminated(run_id, status, end_time=start + 1234)
        runs.append(run_id)
    execute(f"UPDATE runs SET name = NULL WHERE run_uuid IN ('{runs[3]}', '{runs[4]}')")
    execute(f"DELETE FROM tags WHERE key = 'mlflow.runName' AND run_uuid = '{runs[4]}'")
    client.log_text(runs[1], "a", "notes/deep/a b.txt")
    client.log_text(runs[1], "bc", "top.txt")
    ids = {
        "experiments": experiments,
        "runs": runs,
        **_log_models(client, experiments[1], runs),
        **_delete_some(client, experiments[2]),
    }
    _register(client, runs)
    return ids


def _log_models(client: Any, experiment: str, runs: Sequence[str]) -> dict[str, Any]:
    from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput

    profile = '{"num_rows": 12}'
    for number, name in enumerate(("träin", "test")):
        dataset = Dataset(name, f"digest{number}", "local", "{}", profile=profile if number else None)
        client.log_inputs(runs[0], datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "x")])])
    models = [
        client.create_logged_model(
            experiment, name, source_run_id=runs[0], tags={"a": "it's"}, params={"p": "ü" * 10}
        ).model_id
        for name in ("model", "other", "gone")
    ]
    client.log_outputs(runs[0], [LoggedModelOutput(model, step) for step, model in enumerate(models)])
    client.finalize_logged_model(models[0], "READY")
    client.delete_logged_model(models[2])
    return {"logged": models[0], "deleted_model": models[2]}


def _delete_some(client: Any, gone: str) -> dict[str, Any]:
    with_experiment = client.create_run(gone, start_time=STARTED_MS, run_name="in a deleted experiment")
    restored = client.create_run(gone, start_time=STARTED_MS, run_name="restored")
    client.delete_experiment(gone)
    client.restore_run(restored.info.run_id)
    deleted = client.create_run("0", start_time=STARTED_MS, run_name="deleted").info.run_id
    client.delete_run(deleted)
    ids = (with_experiment.info.run_id, restored.info.run_id)
    return {"deleted": deleted, "in_deleted_experiment": ids}


def _register(client: Any, runs: Sequence[str]) -> None:
    for name in ("wine", ODD_MODEL, "empty"):
        client.create_registered_model(name, {"team": "ü'\"", "empty": ""}, description=f"About {name}")
    stages = ("Production", "Staging", "Archived", "None", "Production", "Staging")
    for number, stage in enumerate(stages):
        for name in ("wine", ODD_MODEL):
            version = client.create_model_version(
                name,
                f"runs:/{runs[number]}/it's a model",
                runs[number] if number else None,
                {"k": TEXTS[number]} if number else None,
                description=None if number % 2 else f"Nr. {number}\nsecond line",
            ).version
            client.transition_model_version_stage(name, version, stage)
    for alias, version in (("champion", "2"), ("a-1_b", "2"), ("old", "1"), ("gone", "6")):
        client.set_registered_model_alias("wine", alias, version)
    client.set_registered_model_alias(ODD_MODEL, "champion", "5")
    client.delete_model_version("wine", "6")
    client.register_prompt(PROMPT, "Say hello to {{name}}")
    for thread in threading.enumerate():
        if thread.name.startswith("link_prompt"):  # MLflow writes a tag of the prompt later
            thread.join()


def assert_same(found: Any, expected: Any, where: str = "") -> None:
    """Check that what a client returned has the attributes of MLflow's entity, as far as it has attributes."""
    if is_dataclass(found):
        for field in fields(found):
            assert_same(getattr(found, field.name), getattr(expected, field.name), f"{where}.{field.name}")
    elif isinstance(found, Mapping):
        assert set(found) == set(expected), where
        for key in found:
            assert_same(found[key], expected[key], f"{where}[{key}]")
    elif isinstance(found, float):
        assert found == expected or (math.isnan(found) and math.isnan(expected)), (where, found, expected)
    elif isinstance(found, Sequence) and not isinstance(found, str):
        assert len(found) == len(expected), (where, found, expected)
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{where}[{number}]")
    else:
        same = (found or None) == (str(expected) if isinstance(found, str) and expected else expected or None)
        assert same, (where, found, expected)


def sqlite_executor(file: Path) -> Callable[[str], None]:
    """Return a function that executes a statement in a SQLite file."""

    def execute(statement: str) -> None:
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(statement)

    return execute


def postgres_executor(uri: str) -> Callable[[str], None]:
    """Return a function that executes a statement in a PostgreSQL database."""

    def execute(statement: str) -> None:
        import psycopg2

        with contextlib.closing(psycopg2.connect(uri.replace("+psycopg2", ""))) as connection, connection:
            connection.cursor().execute(statement)

    return execute


def copy_postgres(uri: str) -> str:
    """Copy a PostgreSQL database, which ends its connections; return the URI of the copy."""
    import psycopg2

    server, _, name = uri.replace("+psycopg2", "").rpartition("/")
    copy = f"copy{next(COPIES)}"
    with contextlib.closing(psycopg2.connect(f"{server}/postgres")) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        cursor.execute(f"CREATE DATABASE {copy} TEMPLATE {name}")
    return f"{uri.rpartition('/')[0]}/{copy}"


@contextlib.contextmanager
def serving(uri: str) -> Iterator[str]:
    """Serve a store with MLflow's tracking server, in a thread of this process; yield the server's URL."""
    from mlflow.server import app, handlers
    from werkzeug.serving import make_server

    previous = handlers._tracking_store, handlers._model_registry_store
    handlers._tracking_store = handlers._model_registry_store = None
    handlers.initialize_backend_stores(uri, uri, "mlflow-artifacts:/")
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        handlers._tracking_store, handlers._model_registry_store = previous
