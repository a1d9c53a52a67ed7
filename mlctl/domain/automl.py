"""The nouns of automatic machine learning: a leaderboard, and what would be tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.objective import Objective
from mlctl.domain.run import Run

BLEND = "blend"


@dataclass(frozen=True)
class LeaderboardEntry:
    """One model of the leaderboard, or the blend of several.

    `score` is the objective on validation rows (None where it failed, which `why` explains), `metrics` all that
    they say, `rounds` how many trees or epochs it has, `weight` its share in the blend.
    """

    model: str
    family: str
    run_id: str
    state: str
    score: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 0
    duration_s: float = 0.0
    weight: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Automl:
    """A finished race: the parent run, which holds the model to serve, and every model, best first."""

    run: Run
    objective: Objective
    leaderboard: tuple[LeaderboardEntry, ...]
    ended: str

    @property
    def run_id(self) -> str:
        """The parent run's id."""
        return self.run.run_id


@dataclass(frozen=True)
class AutomlPlan:
    """What would be tried, in this order, having fitted nothing: (model, family, what it is told)."""

    recipe: str
    objective: Objective | None
    timeout_s: float
    featurize: bool
    models: tuple[tuple[str, str, Mapping[str, Any]], ...]
    notes: tuple[str, ...] = ()
