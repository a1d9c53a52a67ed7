"""The metric that a recipe optimizes, and its direction."""

from __future__ import annotations

from dataclasses import dataclass


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
