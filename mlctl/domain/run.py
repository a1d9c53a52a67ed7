"""A run in the tracking store, and what belongs to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mlctl.domain.tags import FOLDS_TAG, INTERVALS_TAG, KIND_TAG

IntervalPairs = Mapping[str, tuple[tuple[float, float] | None, tuple[float, float] | None]]


@dataclass(frozen=True, kw_only=True)
class DataReference:
    """The data of a run.

    Attributes:
        source: Where the data came from: a path, a URL, "bundled" or "synthetic".
        sha256: Hash of the whole content.
        files: Hash of each file that was read, if the recipe did not give `sha256` itself.
        rows: Number of examples of all splits together.
        splits: Number of examples of each split.
    """

    name: str
    source: str
    sha256: str
    rows: int
    size_bytes: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    seed: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        """Whether generated data stands in for the real data."""
        return self.source == "synthetic"


@dataclass(frozen=True)
class Artifact:
    """A file or folder of a run; `path` is relative to the run, and `size_bytes` is None for a folder."""

    path: str
    size_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run in the tracking store; `registered` is NAME/VERSION if its model was registered just now.

    `system_metrics` are the newest values of what it uses of its machine; `metrics` leaves them out.
    """

    run_id: str
    run_name: str
    experiment: str
    status: str
    tracking_uri: str
    recipe: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    data: DataReference | None = None
    model_uri: str | None = None
    started_at: datetime | None = None
    duration_s: float | None = None
    parent_run_id: str | None = None
    registered: str = ""
    system_metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % confidence interval of each metric that has one."""
        return parse_intervals(self.tags.get(INTERVALS_TAG, ""))

    @property
    def folds(self) -> dict[str, tuple[float, ...]]:
        """Each score of cross-validation, by fold."""
        return parse_folds(self.tags.get(FOLDS_TAG, ""))


def parse_folds(text: str) -> dict[str, tuple[float, ...]]:
    """Return the scores by fold that a run's tag holds; none if anyone has changed it."""
    try:
        return {str(name): tuple(map(float, values)) for name, values in json.loads(text or "{}").items()}
    except (AttributeError, TypeError, ValueError):
        return {}


def parse_intervals(text: str) -> dict[str, tuple[float, float]]:
    """Return the intervals by metric that a run's tag holds; none if anyone has changed it."""
    try:
        return {
            str(name): (float(low), float(high)) for name, (low, high) in json.loads(text or "{}").items()
        }
    except (AttributeError, TypeError, ValueError):
        return {}


@dataclass(frozen=True, kw_only=True)
class RunScore:
    """What tells in one line how good a run is.

    Attributes:
        name: Name of the metric for people, such as val_mae.
        metric: Metric of the run that has the value: best_val_mae if the run has a saved model.
        value: None if the run has no value yet.
        test_metric: Metric of the test split; "" if there is none.
        test_value: Its value.
        test_interval: The 95 % confidence interval of this value, if it is known.
    """

    name: str
    metric: str
    value: float | None
    test_metric: str = ""
    test_value: float | None = None
    test_interval: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class RunDetail:
    """A run with the values of each metric by epoch, and its artifacts."""

    run: Run
    histories: Mapping[str, tuple[float, ...]]
    artifacts: tuple[Artifact, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    score: RunScore | None = None

    @property
    def is_search(self) -> bool:
        """Whether it has trials: a search, or an automl run."""
        return self.run.tags.get(KIND_TAG) in {"search", "automl"}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A named collection of runs; `has_more` says that it has more runs than were counted."""

    name: str
    experiment_id: str
    runs: int
    last_run_at: datetime | None
    artifact_location: str
    has_more: bool = False


@dataclass(frozen=True, kw_only=True)
class SyncedRun:
    """A local run that mlctl sent to the store: the number of entries sent, and the run's final status."""

    run_id: str
    status: str
    sent: int
    folder: Path


@dataclass(frozen=True)
class SyncReport:
    """All runs that mlctl sync sent."""

    runs: tuple[SyncedRun, ...]


@dataclass(frozen=True, kw_only=True)
class MetricDifference:
    """The first step at which a metric of a reproduced run differs from the original; None: no value."""

    metric: str
    step: int
    original: float | None
    reproduced: float | None


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A repeated run: its differences from the original, and their possible reasons."""

    run: Run
    original_run_id: str
    differences: tuple[MetricDifference, ...]
    reasons: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether every value of every epoch is the same."""
        return not self.differences


@dataclass(frozen=True)
class FinishedRun:
    """A run that `mlctl resume` has left as it was, because it is finished."""

    run: Run
    outcome: str = "is finished: there is nothing to resume"

    @property
    def run_id(self) -> str:
        """The ID of the run."""
        return self.run.run_id
