"""What `mlctl import` reads from one store and writes to another. Times are milliseconds since 1970."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol


class Point(NamedTuple):
    """One value of a metric."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True, kw_only=True)
class SourceExperiment:
    """An experiment; `key` is its id in its own store."""

    key: str
    name: str
    created: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SourceDataset:
    """A dataset that a run has used."""

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SourceRun:
    """A run with everything that was logged; `models` are the ids of the models that it logged, and their steps."""

    run_id: str
    name: str
    status: str
    user: str | None
    started: int | None
    ended: int | None
    artifact_uri: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    points: Sequence[Point]
    datasets: Sequence[SourceDataset] = ()
    models: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True, kw_only=True)
class SourceModel:
    """A logged model; `status` is MLflow's number."""

    model_id: str
    name: str
    artifact_uri: str
    created: int
    updated: int
    status: int
    run_id: str | None
    model_type: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    points: Sequence[tuple[Point, str]] = ()  # with the run that measured each


@dataclass(frozen=True, kw_only=True)
class SourceVersion:
    """A version of a registered model."""

    version: int
    source: str
    run_id: str | None
    created: int | None
    updated: int | None
    stage: str = "None"
    description: str | None = None
    user: str | None = None
    status: str = "READY"
    storage_location: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SourceRegisteredModel:
    """A registered model with all versions; `aliases` maps an alias to a version's number."""

    name: str
    created: int | None
    updated: int | None
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    versions: Sequence[SourceVersion] = ()


class Source(Protocol):
    """A store to import from. Deleted things are left out. `notes` says what could not be read."""

    notes: list[str]

    def experiments(self) -> Sequence[SourceExperiment]:
        """Return all experiments."""

    def run_ids(self, experiment: SourceExperiment) -> Sequence[str]:
        """Return the ids of an experiment's runs."""

    def runs(self, experiment: SourceExperiment, run_ids: Sequence[str]) -> Iterator[SourceRun]:
        """Yield these runs."""

    def models(self, experiment: SourceExperiment) -> Sequence[SourceModel]:
        """Return the logged models of an experiment."""

    def registered_models(self) -> Sequence[SourceRegisteredModel]:
        """Return all registered models."""

    def fetch(self, artifact_uri: str, folder: Path) -> Path | None:
        """Return a local folder with these artifacts, which may be a copy in `folder`; None if there are none."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import has done, or would do.

    Attributes:
        experiments: Number of experiments that were created.
        runs, models, registered_models, versions: Numbers of what was copied.
        present: Number of runs that the store had already.
        files: Number of artifacts, with `size_bytes` in all; each was compared with its original by its SHA-256.
        notes: What was left out, or changed, and why.
    """

    source: str
    target: str
    experiments: int = 0
    runs: int = 0
    present: int = 0
    points: int = 0
    models: int = 0
    registered_models: int = 0
    versions: int = 0
    files: int = 0
    size_bytes: int = 0
    notes: tuple[str, ...] = ()
    dry_run: bool = False
    seconds: float = 0.0
