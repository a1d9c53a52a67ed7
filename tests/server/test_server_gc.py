"""What a sweep leaves alone: places that somebody chose, and places that something living is in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from mlctl.domain.server import Backend, ServerLocation
from mlctl.services.server.gc import sweep

NewStore = Callable[[Path], str]


def place(root: Path) -> ServerLocation:
    return ServerLocation(root, Backend(f"sqlite:///{root}/mlflow.db"))


def swept(root: Path) -> Any:
    """Sweep, after a look that must say the same."""
    planned, done = sweep(place(root), really=False), sweep(place(root), really=True)
    assert (planned.objects, planned.left_alone) == (done.objects, done.left_alone)
    assert done.backend == f"sqlite:///{root}/mlflow.db"
    return done


def test_a_place_that_somebody_chose_is_left_alone(tmp_path: Path, new_store: NewStore) -> None:
    """Its runs' own folders go, and nothing else in it; another experiment is in there, too."""
    client = MlflowClient(new_store(tmp_path))
    project = tmp_path / "project"
    (project / "artifacts").mkdir(parents=True)
    (project / "thesis.tex").write_text("not MLflow's")
    (project / "artifacts" / "photo.jpg").write_text("nor this")
    chosen = [client.create_experiment(name, f"{project}/artifacts") for name in ("mine", "also")]
    gone, kept = (client.create_run(one).info for one in chosen)
    for run in (gone, kept):
        client.log_text(run.run_id, "a note", "note.txt")
    client.delete_experiment(chosen[0])

    done = swept(tmp_path)
    assert (done.runs, done.experiments, done.objects) == ((gone.run_id,), (chosen[0],), 1)
    assert done.left_alone == (f"{project}/artifacts, of experiment {chosen[0]}",)
    left = sorted(file.relative_to(project).as_posix() for file in project.rglob("*") if file.is_file())
    assert left == [f"artifacts/{kept.run_id}/artifacts/note.txt", "artifacts/photo.jpg", "thesis.tex"]


def test_a_place_that_something_living_is_in_is_left_alone(tmp_path: Path, new_store: NewStore) -> None:
    """By whichever name the living one knows it; and a name that only ends like an id is no id."""
    client = MlflowClient(new_store(tmp_path))
    kept = {}
    for name, location in (
        ("team1", "mlflow-artifacts:/team1"),
        ("team1/two", "mlflow-artifacts:/team1/two"),
        ("3", "mlflow-artifacts:/3"),
        ("in 3", f"file://{tmp_path}/mlartifacts/3/inside"),
        ("5", f"{tmp_path}/mlartifacts/5"),
    ):
        number = client.create_experiment(name, location)
        kept[name] = (
            tmp_path
            / "mlartifacts"
            / location.rpartition("mlartifacts/")[2].removeprefix("mlflow-artifacts:/")
        )
        kept[name].mkdir(parents=True, exist_ok=True)
        (kept[name] / "note.txt").write_text(name)
        if name in {"team1", "3", "5"}:
            assert name in {"team1", number}
            client.delete_experiment(number)

    done = swept(tmp_path)
    assert (done.experiments, done.objects) == (("1", "3", "5"), 1)
    assert [one.rpartition(", of ")[2] for one in done.left_alone] == ["experiment 1", "experiment 3"]
    assert [name for name, folder in kept.items() if (folder / "note.txt").exists()] == [
        "team1", "team1/two", "3", "in 3",
    ]  # fmt: skip


def test_what_a_store_itself_is_in_is_left_alone(tmp_path: Path, new_store: NewStore) -> None:
    """An experiment whose chosen place bears its number by chance, above the database."""
    root = tmp_path / "1"
    client = MlflowClient(new_store(root))
    client.delete_experiment(client.create_experiment("mine", str(root)))
    done = swept(root)
    assert (done.experiments, done.objects) == (("1",), 0)
    assert done.left_alone == (f"{root}, of experiment 1",)
    assert (root / "mlflow.db").exists()
