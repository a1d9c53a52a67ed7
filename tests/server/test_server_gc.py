"""What server-gc keeps: folders that a user chose, and folders that something active needs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlctl import settings
from mlctl.domain.server import Backend, GcReport, ServerLocation
from mlctl.errors import ConfigurationError
from mlctl.services.server.gc import collect_garbage

pytestmark = pytest.mark.unit

NewStore = Callable[[Path], str]


def collect(root: Path) -> GcReport:
    """Collect garbage, after a preview that must report the same."""
    location = ServerLocation(root=root, backend=Backend(f"sqlite:///{root}/mlflow.db"))
    planned, done = collect_garbage(location, delete=False), collect_garbage(location, delete=True)
    assert (planned.objects, planned.left_alone) == (done.objects, done.left_alone)
    assert done.backend == f"sqlite:///{root}/mlflow.db"
    return done


def test_a_folder_that_a_user_chose_is_kept(tmp_path: Path, new_store: NewStore) -> None:
    """Only the folders of its deleted runs go. Another experiment uses the same folder."""
    client = MlflowClient(new_store(tmp_path))
    project = tmp_path / "project"
    (project / "artifacts").mkdir(parents=True)
    (project / "thesis.tex").write_text("not MLflow's")
    (project / "artifacts" / "photo.jpg").write_text("not MLflow's either")
    experiments = [client.create_experiment(name, f"{project}/artifacts") for name in ("mine", "also")]
    deleted, kept = (client.create_run(experiment).info for experiment in experiments)
    for run in (deleted, kept):
        client.log_text(run.run_id, "a note", "note.txt")
    client.delete_experiment(experiments[0])

    done = collect(tmp_path)
    assert (done.runs, done.experiments, done.objects) == ((deleted.run_id,), (experiments[0],), 1)
    assert done.left_alone == (f"{project}/artifacts, of experiment {experiments[0]}",)
    files = sorted(file.relative_to(project).as_posix() for file in project.rglob("*") if file.is_file())
    assert files == [f"artifacts/{kept.run_id}/artifacts/note.txt", "artifacts/photo.jpg", "thesis.tex"]


def test_a_folder_that_an_active_experiment_uses_is_kept(tmp_path: Path, new_store: NewStore) -> None:
    """In whichever way the active one names it. A name that only ends like an id is not an id."""
    client = MlflowClient(new_store(tmp_path))
    artifacts = tmp_path / "mlartifacts"
    folders = {}
    for name, location in (
        ("team1", "mlflow-artifacts:/team1"),
        ("team1/two", "mlflow-artifacts:/team1/two"),
        ("3", "mlflow-artifacts:/3"),
        ("in 3", f"file://{artifacts}/3/inside"),
        ("5", f"{artifacts}/5"),
    ):
        experiment = client.create_experiment(name, location)
        folder = location.rpartition("mlartifacts/")[2].removeprefix("mlflow-artifacts:/")
        folders[name] = artifacts / folder
        folders[name].mkdir(parents=True, exist_ok=True)
        (folders[name] / "note.txt").write_text(name)
        if name in {"team1", "3", "5"}:
            assert name in {"team1", experiment}
            client.delete_experiment(experiment)

    done = collect(tmp_path)
    assert (done.experiments, done.objects) == (("1", "3", "5"), 1)
    owners = [text.rpartition(", of ")[2] for text in done.left_alone]
    assert owners == ["experiment 1", "experiment 3"]
    kept = [name for name, folder in folders.items() if (folder / "note.txt").exists()]
    assert kept == ["team1", "team1/two", "3", "in 3"]


def test_the_folder_of_the_store_itself_is_kept(tmp_path: Path, new_store: NewStore) -> None:
    """The location of an experiment has its id as a name by chance, and holds the database."""
    root = tmp_path / "1"
    client = MlflowClient(new_store(root))
    client.delete_experiment(client.create_experiment("mine", str(root)))
    done = collect(root)
    assert (done.experiments, done.objects) == (("1",), 0)
    assert done.left_alone == (f"{root}, of experiment 1",)
    assert (root / "mlflow.db").exists()


def test_what_was_deleted_recently_stays(tmp_path: Path, new_store: NewStore) -> None:
    """A deleted experiment stays with the run that was deleted last; what was deleted before goes."""
    client = MlflowClient(new_store(tmp_path))
    location = ServerLocation(root=tmp_path, backend=Backend(f"sqlite:///{tmp_path}/mlflow.db"))
    young, old = (client.create_experiment(name) for name in ("young", "old"))
    runs = {
        name: client.create_run(experiment).info.run_id
        for name, experiment in (
            ("old", young),
            ("young", young),
            ("in the old", old),
            ("unknown", "0"),
            ("active", "0"),
        )
    }
    for name in ("old", "young", "unknown"):
        client.delete_run(runs[name])
    client.delete_experiment(young)
    client.delete_experiment(old)
    long_ago = round((time.time() - 3 * 86_400) * 1000)
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        for name in ("old", "in the old"):
            connection.execute("UPDATE runs SET deleted_time = ? WHERE run_uuid = ?", (long_ago, runs[name]))
        connection.execute("UPDATE runs SET deleted_time = NULL WHERE run_uuid = ?", (runs["unknown"],))
        connection.execute(
            "UPDATE experiments SET last_update_time = ? WHERE experiment_id = ?", (long_ago, old)
        )
    connection.close()

    assert collect_garbage(location, delete=False, older_than_s=4 * 86_400).runs == ()
    planned = collect_garbage(location, delete=False, older_than_s=2 * 86_400)
    assert (set(planned.runs), planned.experiments) == ({runs["old"], runs["in the old"]}, (old,))
    assert planned.recent == 3  # the experiment, its run, and the run whose time is unknown
    collect_garbage(location, delete=True, older_than_s=2 * 86_400)
    rest = collect_garbage(location, delete=True)
    assert (set(rest.runs), rest.experiments) == ({runs["young"], runs["unknown"]}, (young,))
    assert client.get_run(runs["active"]).info.lifecycle_stage == "active"


def test_the_retention_of_a_project(tmp_path: Path) -> None:
    file = tmp_path / "mlctl.toml"
    file.write_text('[retention]\ndeleted = "30d"\n')
    found = settings.load(folder=tmp_path)
    assert found.retention == "30d"
    assert ("retention.deleted", "30d", str(file)) in found.listing()
    file.write_text('[retention]\ndeleted = "a month"\n')
    with pytest.raises(ConfigurationError, match="'a month' is not a duration"):
        settings.load(folder=tmp_path)
