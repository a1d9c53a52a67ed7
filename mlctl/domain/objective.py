"""The metric that a training optimizes, and its direction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Objective:
    """The name of a metric, and whether to maximize or minimize it."""

    metric: str
    maximize: bool

    def is_better(self, candidate: float, incumbent: float) -> bool:
        """Whether `candidate` beats `incumbent`. NaN never beats anything, and any number beats NaN."""
        if candidate != candidate:  # NaN
            return False
        if incumbent != incumbent:
            return True
        return candidate > incumbent if self.maximize else candidate < incumbent

    def __str__(self) -> str:
        return f"{'max' if self.maximize else 'min'}:{self.metric}"


LOWER_IS_BETTER = ("loss", "error", "mae", "mse", "rmse", "mape", "duration")


def lower_is_better(metric: str) -> bool:
    """Whether a metric of this name should be minimized: true for losses, errors and durations."""
    return any(part in LOWER_IS_BETTER for part in metric.lower().replace("-", "_").split("_"))
