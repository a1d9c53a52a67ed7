"""The nouns of looking at runs: what a search asks, and what lists, differences and curves answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.run import Artifact, Experiment, Run
from mlctl.domain.tune import SearchSnapshot

CHECKPOINT = "checkpoint"  # the artifact folder from which another machine can go on; a training replaces what is in it


@dataclass(frozen=True)
class Field:
    """Something that a run has a value for.

    `kind` is "metric", "param", "tag" or "attribute" (status, started, …), `name` the name within it.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        prefix = {"param": "params.", "tag": "tags."}.get(self.kind, "")
        return prefix + self.name


@dataclass(frozen=True)
class Condition:
    """A comparison of a field with a number or a text; a store may use it to leave runs out early."""

    field: Field
    operator: str
    value: float | str


@dataclass(frozen=True)
class SortKey:
    """A field to sort by; runs without it come last, whichever way."""

    field: Field
    descending: bool


@dataclass(frozen=True)
class RunList:
    """Runs in order, the fields worth a column, and the best value of each metric among them.

    `more` says that there are runs beyond the limit; `chosen` that the columns are the user's choice.
    """

    runs: tuple[Run, ...]
    columns: tuple[Field, ...] = ()
    best: Mapping[str, float] = field(default_factory=dict)
    more: bool = False
    chosen: bool = False


@dataclass(frozen=True)
class ExperimentList:
    """Every experiment of a tracking store."""

    experiments: tuple[Experiment, ...]


@dataclass(frozen=True)
class RunDiff:
    """What differs between two runs, and nothing else: name -> (of a, of b), None where one has none.

    `verdicts` says of each metric whether b is "better" or "worse" than a.
    """

    a: Run
    b: Run
    params: Mapping[str, tuple[Any, Any]]
    metrics: Mapping[str, tuple[float | None, float | None]]
    verdicts: Mapping[str, str]
    data: Mapping[str, tuple[Any, Any]]
    code: Mapping[str, tuple[Any, Any]]
    environment: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Curve:
    """One metric of one run, by step."""

    run_id: str
    run_name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """One metric of several runs; `saved` is the picture that was written, if one was asked for."""

    metric: str
    curves: tuple[Curve, ...]
    saved: str | None = None


@dataclass(frozen=True)
class ArtifactList:
    """The files of a run, its model's among them."""

    run: Run
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True)
class DownloadedArtifact:
    """An artifact that was copied here."""

    run: Run
    path: str
    file: str


@dataclass(frozen=True)
class Snapshot:
    """A run as it is at this moment, with its values by step; `away` while its store does not answer.

    `search` are its trials, where it is one.
    """

    run: Run
    points: Mapping[str, tuple[tuple[int, float], ...]]
    away: bool = False
    search: SearchSnapshot | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.run.status not in {"RUNNING", "SCHEDULED"}


@dataclass(frozen=True)
class Deleted:
    """Runs that were deleted, or would be."""

    runs: tuple[Run, ...]
    dry_run: bool = False
