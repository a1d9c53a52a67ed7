"""Queries of runs, and their answers: lists, differences, curves and snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.domain.run import Artifact, Experiment, IntervalPairs, Run, RunScore
from mlctl.domain.tune import SearchSnapshot

CHECKPOINT_FOLDER = "checkpoint"  # artifacts from which another machine can resume; a training replaces them


@dataclass(frozen=True)
class RunField:
    """Something for which runs have values.

    Attributes:
        kind: "metric", "param", "tag" or "attribute" (status, started, …).
        name: Name within its kind.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        prefix = {"param": "params.", "tag": "tags."}.get(self.kind, "")
        return prefix + self.name


@dataclass(frozen=True)
class Condition:
    """A comparison of a field with a number or a text; a store may use it to select runs early."""

    field: RunField
    operator: str
    value: float | str


@dataclass(frozen=True)
class SortKey:
    """A field to sort by; runs without a value come last in both directions."""

    field: RunField
    descending: bool


@dataclass(frozen=True, kw_only=True)
class RunList:
    """Runs in order.

    Attributes:
        columns: Fields to show, where there is room for a column for each.
        layout: "summary", "all" columns, or the columns that were "chosen".
        requested: Fields of the options.
        scores: Score of each run that has one, by its id.
        best: Metrics of which a run has the best value among the runs of its recipe and data, by its id.
        trials: Number of trials of each search and automl run, by its id.
        differing: Parameters that differ among the runs of one recipe and data, by the id of the run.
        has_more: Whether there are more runs than the limit.
        searched: The filter, and how many runs there are, if none matches.
    """

    runs: tuple[Run, ...]
    columns: tuple[RunField, ...] = ()
    layout: str = "summary"
    requested: tuple[RunField, ...] = ()
    scores: Mapping[str, RunScore] = field(default_factory=dict)
    best: Mapping[str, frozenset[str]] = field(default_factory=dict)
    trials: Mapping[str, int] = field(default_factory=dict)
    differing: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    has_more: bool = False
    searched: str = ""


@dataclass(frozen=True)
class ChangedRuns:
    """Runs as they are after a change, which `change` says in words, such as "renamed"."""

    runs: tuple[Run, ...]
    change: str


@dataclass(frozen=True)
class ChangedExperiment:
    """An experiment after a change, which `change` says in words, such as "renamed"."""

    name: str
    experiment_id: str
    change: str


@dataclass(frozen=True)
class ExperimentList:
    """All experiments of a tracking store."""

    experiments: tuple[Experiment, ...]


@dataclass(frozen=True, kw_only=True)
class RunDiff:
    """The differences between two runs: name -> (value of a, value of b); None if one has no value.

    `intervals` holds the 95 % confidence intervals of the metrics that differ. `verdicts` says for each metric whether
    b is "better" or "worse" than a.
    """

    a: Run
    b: Run
    params: Mapping[str, tuple[Any, Any]]
    metrics: Mapping[str, tuple[float | None, float | None]]
    intervals: IntervalPairs
    verdicts: Mapping[str, str]
    data: Mapping[str, tuple[Any, Any]]
    code: Mapping[str, tuple[Any, Any]]
    environment: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The values of one metric of one run by step."""

    run_id: str
    run_name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    recipe: str = ""


@dataclass(frozen=True)
class Curves:
    """One metric of several runs; `saved` is the image file that was written, if any."""

    metric: str
    curves: tuple[Curve, ...]
    saved: str | None = None


@dataclass(frozen=True)
class ArtifactList:
    """The files of a run, including those of its model."""

    run: Run
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True)
class DownloadedArtifact:
    """An artifact that was copied to `file`."""

    run: Run
    path: str
    file: str


@dataclass(frozen=True, kw_only=True)
class RunSnapshot:
    """The current state of a run.

    Attributes:
        points: (step, value) pairs of each metric.
        store_unreachable: Whether the store does not answer at the moment.
        search: State of the trials if the run is a search.
        objective: What the run is trained for; None if it is unknown.
        best: The best epoch so far by the objective, as the training keeps it.
    """

    run: Run
    points: Mapping[str, tuple[tuple[int, float], ...]]
    store_unreachable: bool = False
    search: SearchSnapshot | None = None
    objective: Objective | None = None
    best: Epoch | None = None

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self.run.status not in {"RUNNING", "SCHEDULED"}


@dataclass(frozen=True)
class DeletedRuns:
    """Runs that were deleted, or would be deleted in a dry run."""

    runs: tuple[Run, ...]
    dry_run: bool = False
