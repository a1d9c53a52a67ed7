"""Bring experiments, runs, models and artifacts of another store into the current one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Protocol

from mlctl.adapters.importing.artifacts import CopiedFiles, copy_folder, local_path
from mlctl.adapters.importing.database_source import DatabaseSource
from mlctl.adapters.importing.database_target import DatabaseTarget
from mlctl.adapters.importing.file_store import FileStore
from mlctl.adapters.importing.server_artifacts import ServerArtifacts
from mlctl.domain.importing import (
    ImportReport,
    Source,
    SourceExperiment,
    SourceModel,
    SourceRun,
)
from mlctl.errors import NotFoundError, UsageError
from mlctl.settings import mask_passwords, with_installed_driver

BATCH = 100  # runs per transaction
IMPORTED_FOLDER = "mlruns-imported"  # beside a file store, for artifacts that would otherwise be in it
DATABASE_SCHEMES = ("sqlite:", "postgresql:", "postgresql+", "mysql:", "mysql+", "mariadb:")


class ImportProgress(Protocol):
    """Receives how far an import is."""

    def advanced(self, done: int, total: int) -> None:
        """`done` of `total` runs are copied or were there already."""


def import_store(
    source: str,
    tracking_uri: str,
    *,
    experiments: Sequence[str] = (),
    runs: Sequence[str] = (),
    with_artifacts: bool = True,
    dry_run: bool = False,
    state_dir: Path | None = None,
    progress: ImportProgress | None = None,
) -> ImportReport:
    """Copy what a store holds; what the current store has already is left as it is. Run it again to continue.

    Args:
        source: Folder of a file store, SQLite file, or URI of a database or server.
        tracking_uri: The current store, which is a database.
        experiments: Names of the experiments to copy; all by default.
        runs: Ids of the runs to copy; all by default. With one of the two, no registered models are copied.
        with_artifacts: Copy artifacts, too; otherwise runs keep the address of the original ones.
        dry_run: Only count.
        state_dir: Folder with the state files of this machine's servers, one of which may use the current store.
        progress: Receives how far the import is.
    """
    opened = open_source(source)
    started = time.monotonic()
    job = _Import(
        opened,
        DatabaseTarget(tracking_uri, create=not dry_run),
        source_artifacts=ServerArtifacts(_database_uri(source), state_dir),
        target_artifacts=ServerArtifacts(tracking_uri, state_dir),
        with_artifacts=with_artifacts,
        dry_run=dry_run,
    )
    report = job.run(_chosen(opened, experiments), frozenset(runs), progress)
    if not experiments and not runs:
        report = job.registered_models(report)
    return replace(
        report,
        source=mask_passwords(source),
        target=mask_passwords(tracking_uri),
        notes=(*job.source.notes, *job.target.notes),
        seconds=round(time.monotonic() - started, 2),
    )


def open_source(source: str) -> Source:
    """Return a store to import from. Raises NotFoundError and BadDataError if there is none."""
    if source.startswith(("http://", "https://")):
        from mlctl.adapters.importing.server_source import ServerSource  # it imports MLflow

        return ServerSource(source)
    if source.startswith(DATABASE_SCHEMES):
        return DatabaseSource(with_installed_driver(source))
    path = Path(source.removeprefix("file://")).expanduser()
    if path.is_file():
        return DatabaseSource(_database_uri(source))
    if not path.is_dir():
        raise NotFoundError(
            f"there is no store {source}", "name a folder mlruns, a file mlflow.db, or a server's URL"
        )
    return FileStore(path if not (path / "mlruns").is_dir() else path / "mlruns")


def _database_uri(source: str) -> str:
    """Return the URI of a source that is the path of a SQLite file, and any other source as it is."""
    if source.startswith(("http://", "https://", *DATABASE_SCHEMES)):
        return source
    path = Path(source.removeprefix("file://")).expanduser()
    return f"sqlite:///{path.resolve()}" if path.is_file() else source


def _chosen(source: Source, names: Sequence[str]) -> list[SourceExperiment]:
    found = list(source.experiments())
    missing = set(names) - {experiment.name for experiment in found}
    if missing:
        listed = ", ".join(experiment.name for experiment in found[:20])
        raise NotFoundError(f"the source has no experiment {min(missing)!r}", f"its experiments: {listed}")
    return [experiment for experiment in found if not names or experiment.name in names]


class _Import:
    def __init__(
        self,
        source: Source,
        target: DatabaseTarget,
        *,
        source_artifacts: ServerArtifacts,
        target_artifacts: ServerArtifacts,
        with_artifacts: bool,
        dry_run: bool,
    ) -> None:
        self.source, self.target = source, target
        self.source_artifacts, self.target_artifacts = source_artifacts, target_artifacts
        self.with_artifacts, self.dry_run = with_artifacts, dry_run
        self.copied = CopiedFiles()

    def run(
        self,
        experiments: Sequence[SourceExperiment],
        wanted: frozenset[str],
        progress: ImportProgress | None,
    ) -> ImportReport:
        """Copy experiments with their runs and logged models."""
        ids = {
            experiment.key: [
                run_id for run_id in self.source.run_ids(experiment) if not wanted or run_id in wanted
            ]
            for experiment in experiments
        }
        if missing := wanted - {run_id for found in ids.values() for run_id in found}:
            raise UsageError(f"the source has no run {min(missing)!r}", "give whole ids")
        total, done = sum(map(len, ids.values())), 0
        report = ImportReport(source="", target="", dry_run=self.dry_run)
        for experiment in experiments:
            run_ids = ids[experiment.key]
            if wanted and not run_ids:
                continue
            key, location, is_new = self.target.experiment(
                experiment, create=not self.dry_run, artifact_root=self.target_artifacts.root
            )
            if not self.dry_run:
                location = self._artifact_location(experiment, key, location, is_new=is_new)
            known = self.target.known_runs(run_ids)
            missing_ids = [run_id for run_id in run_ids if run_id not in known]
            done += len(known)
            report = replace(
                report,
                experiments=report.experiments + is_new,
                present=report.present + len(known),
                runs=report.runs + (len(missing_ids) if self.dry_run else 0),
            )
            for batch in _batches([] if self.dry_run else self.source.runs(experiment, missing_ids)):
                self.target.add_runs(key, [(run, self._copy_run(run, location)) for run in batch])
                points = sum(len(run.points) for run in batch)
                report = replace(report, runs=report.runs + len(batch), points=report.points + points)
                done += len(batch)
                if progress:
                    progress.advanced(done, total)
            report = self._models(experiment, key, location, report, wanted)
        return replace(report, files=self.copied.files, size_bytes=self.copied.size_bytes)

    def _artifact_location(
        self, experiment: SourceExperiment, key: str, location: str, *, is_new: bool
    ) -> str:
        """Return where the artifacts of an experiment go, and change its artifact location if it holds nothing yet.

        They do not go into the folder that is imported, which somebody may delete afterwards.
        """
        if not isinstance(self.source, FileStore) or not _is_inside(location, self.source.root):
            return location
        chosen = str(self.source.root.with_name(IMPORTED_FOLDER) / key)
        if is_new or self.target.is_empty(key):
            self.target.set_artifact_location(key, chosen)
        elif self.with_artifacts:
            self.source.notes.append(f"imported artifacts of experiment {experiment.name} are in {chosen}")
        return chosen

    def registered_models(self, report: ImportReport) -> ImportReport:
        """Copy registered models."""
        models = self.source.registered_models()
        if self.dry_run:
            versions = sum(len(model.versions) for model in models)
            return replace(report, registered_models=len(models), versions=versions)
        for model in models:
            is_new, versions = self.target.add_registered_model(model)
            report = replace(
                report,
                registered_models=report.registered_models + is_new,
                versions=report.versions + versions,
            )
        return report

    def _models(
        self,
        experiment: SourceExperiment,
        key: str,
        location: str,
        report: ImportReport,
        wanted: frozenset[str],
    ) -> ImportReport:
        models = [model for model in self.source.models(experiment) if not wanted or model.run_id in wanted]
        known = self.target.known_models([model.model_id for model in models])
        new = [model for model in models if model.model_id not in known]
        if not self.dry_run:
            for model in new:
                self.target.add_models(key, [(model, self._copy_model(model, location))])
        return replace(report, models=report.models + len(new))

    def _copy_run(self, run: SourceRun, location: str) -> str:
        return self._copy(run.artifact_uri, f"{location}/{run.run_id}/artifacts")

    def _copy_model(self, model: SourceModel, location: str) -> str:
        return self._copy(model.artifact_uri, f"{location}/models/{model.model_id}/artifacts")

    def _copy(self, artifact_uri: str, target_uri: str) -> str:
        """Copy artifacts; return where they are then."""
        if not self.with_artifacts:
            return artifact_uri
        with tempfile.TemporaryDirectory(prefix="mlctl-import-") as folder:
            if isinstance(self.source, DatabaseSource):  # a server finds its artifacts itself
                artifact_uri = self.source_artifacts.resolve(artifact_uri)
            found = self.source.fetch(artifact_uri, Path(folder))
            if found:
                copy_folder(found, self.target_artifacts.resolve(target_uri), self.copied)
        return target_uri


def _is_inside(location: str, folder: Path) -> bool:
    path = local_path(location)
    return path is not None and path.resolve().is_relative_to(folder)


def _batches(runs: Iterable[SourceRun]) -> Iterator[list[SourceRun]]:
    iterator = iter(runs)
    while batch := list(islice(iterator, BATCH)):
        yield batch
