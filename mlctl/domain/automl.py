"""Results and plans of automatic machine learning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlctl.domain.objective import Objective
from mlctl.domain.run import Run

NORMALIZED_RMSE = "normalized_root_mean_squared_error"
REGRESSION_METRICS = ("mae", "rmse", NORMALIZED_RMSE, "r2")
CLASS_METRICS = (
    "accuracy", "precision", "recall", "f1", "auc", "log_loss", "brier", "average_precision",
)  # fmt: skip
BLEND = "blend"  # name of the leaderboard entry that combines several models


@dataclass(frozen=True, kw_only=True)
class LeaderboardEntry:
    """One model of the leaderboard, or the blend of several models.

    Attributes:
        state: done, failed or stopped.
        score: Objective on the validation rows; None if the model failed.
        metrics: All metrics on the validation rows.
        rounds: Number of trees or epochs.
        weight: Share of this model in the blend.
        reason: Why the model failed or was stopped.
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
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class AutomlResult:
    """A finished automl run: the parent run, which holds the logged model, and all models, best first.

    `phases` says where the run's time went: the seconds of each phase, in their order.
    """

    run: Run
    objective: Objective
    leaderboard: tuple[LeaderboardEntry, ...]
    end_reason: str
    phases: Mapping[str, float] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The ID of the parent run."""
        return self.run.run_id


@dataclass(frozen=True, kw_only=True)
class AutomlPlan:
    """What an automl run would try, without fitting anything.

    Attributes:
        featurize: Whether derived columns are added.
        searches: Whether LightGBM's parameters are searched after the models.
        models: (model, family, parameters), in the order in which they would be fitted.
    """

    recipe: str
    objective: Objective | None
    timeout_s: float
    featurize: bool
    searches: bool
    models: tuple[tuple[str, str, Mapping[str, Any]], ...]
    notes: tuple[str, ...] = ()
