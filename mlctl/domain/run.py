"""A run in the tracking store, and what belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class DataReference:
    """The data that a run was made from.

    `source` is where it came from (a path, a URL, "bundled", "synthetic"), `sha256` covers all of its
    content, `rows` counts the examples of each split together.
    """

    name: str
    source: str
    sha256: str
    rows: int
    size_bytes: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    seed: int | None = None

    @property
    def synthetic(self) -> bool:
        """Whether this is a stand-in and not the real data."""
        return self.source == "synthetic"


@dataclass(frozen=True)
class Artifact:
    """A file that belongs to a run; `path` is relative to the run, `size_bytes` None for a folder."""

    path: str
    size_bytes: int | None


@dataclass(frozen=True)
class Run:
    """One run in the tracking store; `registered` is NAME/VERSION where its model was registered just now."""

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

    @property
    def next_command(self) -> str:
        """What is likely to be typed next."""
        if self.registered:
            return "mlctl promote {} {} Production".format(*self.registered.split("/"))
        short = self.run_id[:8]
        return f"mlctl runs show {short}, or mlctl register {short} NAME"


@dataclass(frozen=True)
class RunDetail:
    """A run with what belongs to it: each metric's values by epoch, and its artifacts."""

    run: Run
    histories: Mapping[str, tuple[float, ...]]
    artifacts: tuple[Artifact, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """A named collection of runs; `more` says that there are more of them than were counted."""

    name: str
    experiment_id: str
    runs: int
    last_run_at: datetime | None
    artifact_location: str
    more: bool = False


@dataclass(frozen=True)
class SyncedRun:
    """A run's record that was sent: how many of its entries, and the status that it ended with."""

    run_id: str
    status: str
    sent: int
    folder: Path


@dataclass(frozen=True)
class SyncReport:
    """What mlctl sync has sent."""

    runs: tuple[SyncedRun, ...]


@dataclass(frozen=True)
class Difference:
    """The first epoch at which a metric differs between a run and its reproduction; None: not there."""

    metric: str
    step: int
    then: float | None
    now: float | None


@dataclass(frozen=True)
class Reproduction:
    """A run made again: where it differs, and what honest reasons there are."""

    run: Run
    of: str
    differences: tuple[Difference, ...]
    reasons: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether every figure of every epoch is the same."""
        return not self.differences
