"""The nouns: frozen values that services return, the output shows and programs read as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol


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
class Objective:
    """What a recipe tries to reach: a metric's name and its direction."""

    metric: str
    maximize: bool

    def better(self, candidate: float, incumbent: float) -> bool:
        """Whether `candidate` beats `incumbent`; a NaN never does, and anything beats a NaN."""
        if candidate != candidate:  # NaN
            return False
        if incumbent != incumbent:
            return True
        return candidate > incumbent if self.maximize else candidate < incumbent

    def __str__(self) -> str:
        return f"{'max' if self.maximize else 'min'}:{self.metric}"


LOWER_IS_BETTER = ("loss", "error", "mae", "mse", "rmse", "mape", "duration")


def lower_is_better(metric: str) -> bool:
    """Whether a metric of this name is to be minimised: losses and errors are, all else is not."""
    return any(part in LOWER_IS_BETTER for part in metric.lower().replace("-", "_").split("_"))


class Watcher(Protocol):
    """Who looks on while a model is trained; the command line shows it, a test records it."""

    def say(self, text: str) -> None:
        """Tell a thing worth knowing, once."""

    def download(self, name: str, done: int, total: int | None) -> None:
        """Tell how many bytes of a download have come."""

    def began(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Training begins: `epochs` epochs of `steps` batches."""

    def step(self, epoch: int, done: int, steps: int) -> None:
        """`done` of an epoch's batches are done; epochs count from 1."""

    def epoch(self, epoch: int, metrics: Mapping[str, float], best: int, seconds: float) -> None:
        """An epoch has ended; `best` is the best one so far by the objective."""

    def stage(self, what: str) -> None:
        """Something other than training begins: loading, logging, checking."""


class Quiet:
    """A Watcher that shows nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def download(self, name: str, done: int, total: int | None) -> None:
        """Show nothing."""

    def began(self, what: str, epochs: int, steps: int, objective: Objective) -> None:
        """Show nothing."""

    def step(self, epoch: int, done: int, steps: int) -> None:
        """Show nothing."""

    def epoch(self, epoch: int, metrics: Mapping[str, float], best: int, seconds: float) -> None:
        """Show nothing."""

    def stage(self, what: str) -> None:
        """Show nothing."""


@dataclass(frozen=True)
class RecipeInfo:
    """A recipe as a list shows it, found without loading it."""

    name: str
    summary: str
    origin: str


@dataclass(frozen=True)
class RecipeList:
    """Every recipe that is installed."""

    recipes: tuple[RecipeInfo, ...]


@dataclass(frozen=True)
class HyperparameterInfo:
    """One hyperparameter or data option of a recipe, with its bounds in words."""

    name: str
    default: Any
    allowed: str
    help: str


@dataclass(frozen=True)
class RecipeDetail:
    """A recipe with all that can be set on it."""

    name: str
    summary: str
    origin: str
    objective: str
    hyperparameters: tuple[HyperparameterInfo, ...]
    options: tuple[HyperparameterInfo, ...]
    source: str


@dataclass(frozen=True)
class InstalledCompletion:
    """A shell's completion script where the shell finds it; `changed` is false where it was there already."""

    shell: str
    file: str
    changed: bool
    start: str


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
