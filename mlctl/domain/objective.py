"""The metric that a training optimizes, and its direction."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mlctl.domain.metric_names import recordable_name
from mlctl.errors import UsageError


@dataclass(frozen=True)
class Objective:
    """The name of a metric as a run records it (see `metric_names`), and whether to maximize or minimize it.

    `tolerance` is the number of standard errors within which the validation loss decides; see `selection`.
    """

    metric: str
    maximize: bool
    tolerance: float = field(default=1.0, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric", recordable_name(self.metric))

    def is_better(self, candidate: float, incumbent: float) -> bool:
        """Whether `candidate` beats `incumbent`. NaN never beats anything, and any number beats NaN."""
        if candidate != candidate:  # NaN
            return False
        if incumbent != incumbent:
            return True
        return candidate > incumbent if self.maximize else candidate < incumbent

    def __str__(self) -> str:
        return f"{'max' if self.maximize else 'min'}:{self.metric}"


def parse_objective(text: str) -> Objective:
    """Return the objective of METRIC, min:METRIC or max:METRIC; raises UsageError."""
    direction, colon, metric = text.partition(":")
    if not colon:
        return Objective(text, not lower_is_better(text))
    if direction not in {"min", "max"} or not metric:
        raise UsageError(f"--objective {text} has no direction", "write min:val_mae or max:val_accuracy")
    return Objective(metric, direction == "max")


# words in names of metrics
LOWER_IS_BETTER = frozenset(
    {
        "loss",
        "error",
        "errors",
        "mae",
        "mse",
        "rmse",
        "mape",
        "smape",
        "mase",
        "msle",
        "rmsle",
        "medae",
        "mad",
        "crps",
    }
    | {
        "nll",
        "brier",
        "crossentropy",
        "entropy",
        "perplexity",
        "divergence",
        "deviance",
        "logcosh",
        "poisson",
    }
    | {"hinge", "pinball", "hamming", "wer", "cer", "eer", "fid", "false", "distance"}
    | {"duration", "latency", "seconds"}
)
HIGHER_IS_BETTER = frozenset(
    {"accuracy", "acc", "precision", "recall", "f1", "auc", "r2", "iou", "dice", "match", "similarity"}
    | {"bleu", "rouge", "ndcg", "map", "mrr"}
)


def lower_is_better(metric: str) -> bool:
    """Whether a metric of this name should be minimized: true for losses, errors and durations.

    The last word that is known decides, because the name of an output comes first: `error_accuracy`. Numbers at the
    end, as in `mae_0`, are no words.
    """
    words = re.split(r"[-_ /.]", metric.lower())
    if "iou" in words:  # `iou_error` is of the class "error"
        return False
    for word in reversed(words):
        if word in LOWER_IS_BETTER or word in HIGHER_IS_BETTER:
            return word in LOWER_IS_BETTER
    return False
