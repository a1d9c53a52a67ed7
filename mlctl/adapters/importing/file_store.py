"""Read MLflow's file store: a folder `mlruns` of small files, which MLflow itself no longer opens.

A damaged run, such as one whose program was killed while it was written, is left out and noted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from mlctl.domain.importing import (
    Point,
    SourceDataset,
    SourceExperiment,
    SourceModel,
    SourceRegisteredModel,
    SourceRun,
    SourceVersion,
)
from mlctl.domain.short_texts import one_line
from mlctl.errors import NotFoundError

META = "meta.yaml"
STATUSES = ("", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")  # by MLflow's number
DELETED = b"lifecycle_stage: deleted"
TRASH, REGISTERED, MODELS = ".trash", "models", "models"
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError)
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class FileStore:
    """A file store.

    Attributes:
        notes: What could not be read.
    """

    def __init__(self, root: Path) -> None:
        """Open a folder. Raises NotFoundError if it is no file store."""
        self.root = root.resolve()
        self.notes: list[str] = []
        if not any(_experiment_folders(self.root)) and not (self.root / REGISTERED).is_dir():
            raise NotFoundError(
                f"{root} holds no MLflow file store",
                "name the folder mlruns, which holds a folder per experiment",
            )

    def experiments(self) -> Sequence[SourceExperiment]:
        """Return all experiments, by their id."""
        found = []
        for folder in _experiment_folders(self.root):
            meta = self._meta(folder)
            if meta and meta.get("lifecycle_stage", "active") == "active":
                found.append(
                    SourceExperiment(
                        key=folder.name,
                        name=str(meta.get("name", folder.name)),
                        created=meta.get("creation_time"),
                        tags=_values(folder / "tags"),
                    )
                )
        return found

    def run_ids(self, experiment: SourceExperiment) -> Sequence[str]:
        """Return the names of the folders that hold a run."""
        folder = self.root / experiment.key
        return sorted(
            child.name
            for child in folder.iterdir()
            if child.name not in {MODELS, "tags", "datasets", "traces"}
            and (child / META).is_file()
            and DELETED not in (child / META).read_bytes()
        )

    def runs(self, experiment: SourceExperiment, run_ids: Sequence[str]) -> Iterator[SourceRun]:
        """Yield runs that are not deleted."""
        for run_id in run_ids:
            folder = self.root / experiment.key / run_id
            try:
                run = _read_run(folder, self.root / experiment.key / "datasets")
            except DAMAGED as exc:
                self.notes.append(f"run {run_id} is damaged and was left out: {one_line(exc, 150)}")
                continue
            if run:
                yield run

    def models(self, experiment: SourceExperiment) -> Sequence[SourceModel]:
        """Return the logged models of an experiment."""
        found = []
        for folder in sorted((self.root / experiment.key / MODELS).glob("m-*")):
            try:
                meta = _read_yaml(folder / META)
                if meta.get("lifecycle_stage", "active") == "active":
                    found.append(_read_model(folder, meta))
            except DAMAGED as exc:
                self.notes.append(f"model {folder.name} is damaged and was left out: {one_line(exc, 150)}")
        return found

    def registered_models(self) -> Sequence[SourceRegisteredModel]:
        """Return the registered models, with their versions."""
        found = []
        for folder in sorted((self.root / REGISTERED).glob("*")):
            if not (folder / META).is_file():
                continue
            try:
                found.append(_read_registered(folder))
            except DAMAGED as exc:
                self.notes.append(f"model {folder.name} is damaged and was left out: {one_line(exc, 150)}")
        return found

    def fetch(self, artifact_uri: str, folder: Path) -> Path | None:
        """Return the folder that holds the artifacts; one in another place, such as a bucket, is not fetched."""
        parts = urlsplit(artifact_uri)
        if parts.scheme not in {"", "file"}:
            return None
        path = Path(unquote(parts.path) if parts.scheme else artifact_uri)
        return path if path.is_dir() else None

    def _meta(self, folder: Path) -> dict[str, Any]:
        try:
            return _read_yaml(folder / META)
        except DAMAGED as exc:
            self.notes.append(f"experiment {folder.name} is damaged and was left out: {one_line(exc, 150)}")
            return {}


def _experiment_folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(
        child
        for child in root.iterdir()
        if child.name not in {TRASH, REGISTERED} and (child / META).is_file()
    )


def _read_run(folder: Path, datasets: Path) -> SourceRun | None:
    meta = _read_yaml(folder / META)
    if meta.get("lifecycle_stage", "active") != "active":
        return None
    run_id = str(meta.get("run_id") or meta["run_uuid"])
    if run_id != folder.name:
        raise ValueError(f"{META} is of the run {run_id}")
    tags, status = _values(folder / "tags"), meta.get("status", 3)
    own = folder / "artifacts"
    return SourceRun(
        run_id=run_id,
        name=str(meta.get("run_name") or tags.get("mlflow.runName", "")),
        status=STATUSES[status] if isinstance(status, int) else str(status),
        user=meta.get("user_id"),
        started=meta.get("start_time"),
        ended=meta.get("end_time"),
        # the folder may have been moved since the run was made
        artifact_uri=str(own) if own.is_dir() else str(meta.get("artifact_uri", "")),
        params=_values(folder / "params"),
        tags=tags,
        points=tuple(_points(folder / "metrics")),
        datasets=tuple(_datasets(folder / "inputs", datasets)),
        models=tuple(_outputs(folder / "outputs")),
    )


def _read_model(folder: Path, meta: Mapping[str, Any]) -> SourceModel:
    own = folder / "artifacts"
    return SourceModel(
        model_id=str(meta["model_id"]),
        name=str(meta["name"]),
        artifact_uri=str(own) if own.is_dir() else str(meta.get("artifact_location", "")),
        created=int(meta["creation_timestamp"]),
        updated=int(meta["last_updated_timestamp"]),
        status=int(meta.get("status", 2)),
        run_id=meta.get("source_run_id"),
        model_type=meta.get("model_type"),
        params=_values(folder / "params"),
        tags=_values(folder / "tags"),
        points=tuple(_model_points(folder / "metrics")),
    )


def _read_registered(folder: Path) -> SourceRegisteredModel:
    meta = _read_yaml(folder / META)
    versions = []
    for child in sorted(folder.glob("version-*"), key=lambda path: int(path.name.rpartition("-")[2])):
        found = _read_yaml(child / META)
        if found.get("current_stage") == "Deleted_Internal":
            continue
        versions.append(
            SourceVersion(
                version=int(found["version"]),
                source=str(found.get("source") or ""),
                run_id=found.get("run_id"),
                created=found.get("creation_timestamp"),
                updated=found.get("last_updated_timestamp"),
                stage=str(found.get("current_stage") or "None"),
                description=found.get("description"),
                user=found.get("user_id"),
                status=str(found.get("status") or "READY"),
                storage_location=found.get("storage_location"),
                tags=_values(child / "tags"),
            )
        )
    aliases = {key: int(value) for key, value in _values(folder / "aliases").items()}
    return SourceRegisteredModel(
        name=str(meta["name"]),
        created=meta.get("creation_timestamp"),
        updated=meta.get("last_updated_timestamp"),
        description=meta.get("description"),
        tags=_values(folder / "tags"),
        aliases=aliases,
        versions=tuple(versions),
    )


def _datasets(inputs: Path, datasets: Path) -> Iterator[SourceDataset]:
    for folder in sorted(inputs.glob("*")):
        used = _read_yaml(folder / META)
        if used.get("source_type") != "DATASET":
            continue
        dataset = _read_yaml(datasets / str(used["source_id"]) / META)
        yield SourceDataset(
            name=str(dataset["name"]),
            digest=str(dataset["digest"]),
            source_type=str(dataset["source_type"]),
            source=str(dataset["source"]),
            schema=dataset.get("schema"),
            profile=dataset.get("profile"),
            tags={str(key): str(value) for key, value in (used.get("tags") or {}).items()},
        )


def _outputs(folder: Path) -> Iterator[tuple[str, int]]:
    for child in sorted(folder.glob("*")):
        output = _read_yaml(child / META)
        yield str(output.get("destination_id") or child.name), int(output.get("step") or 0)


def _points(folder: Path) -> Iterator[Point]:
    for file in _files(folder):
        key = file.relative_to(folder).as_posix()
        for line in file.read_text(encoding="utf-8").splitlines():
            timestamp, value, *rest = line.split()
            yield Point(key, float(value), int(timestamp), int(rest[0]) if rest else 0)


def _model_points(folder: Path) -> Iterator[tuple[Point, str]]:
    for file in _files(folder):
        key = file.relative_to(folder).as_posix()
        for line in file.read_text(encoding="utf-8").splitlines():
            timestamp, value, step, run_id, *_ = line.split()
            yield Point(key, float(value), int(timestamp), int(step)), run_id


def _values(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8") for file in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else []


def _read_yaml(file: Path) -> dict[str, Any]:
    content = yaml.load(file.read_text(encoding="utf-8"), Loader=Loader)  # noqa: S506 - the loader is safe
    if not isinstance(content, dict):
        raise TypeError(f"{file} is empty")
    return content
