"""How the probability above which a row is of the positive class is chosen: --set threshold=."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mlctl.domain.outputs import DEFAULT_THRESHOLD
from mlctl.errors import UsageError

HELP = (
    "the probability from which the positive class is answered: a number below 1, or f1, balanced or a cost ratio such "
    "as 10 (a missed row costs as much as 10 false alarms), chosen on the validation rows"
)
HINT = "use f1, balanced, a probability such as 0.3, or a cost ratio such as 10"


@dataclass(frozen=True)
class ThresholdRule:
    """A rule that chooses a threshold.

    Attributes:
        kind: fixed: the value is the threshold; f1: the highest F1; balanced: the highest mean of the recalls of both
            classes; cost: the lowest cost, where a missed positive row costs `value`, and a false alarm 1.
        value: The threshold or the cost.
    """

    kind: Literal["fixed", "f1", "balanced", "cost"]
    value: float = DEFAULT_THRESHOLD

    @property
    def needs_rows(self) -> bool:
        """Whether it is chosen on validation rows."""
        return self.kind != "fixed"


def parse_threshold(text: object) -> ThresholdRule:
    """Return the rule of `--set threshold=TEXT`; "" is the threshold 0.5. Raises UsageError."""
    word = str(text or "").strip().lower()
    if not word:
        return ThresholdRule("fixed")
    if word == "f1":
        return ThresholdRule("f1")
    if word == "balanced":
        return ThresholdRule("balanced")
    cost, colon, other = word.partition(":")
    try:
        value = float(cost) / float(other) if colon else float(word)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"threshold={text} is no threshold", HINT) from None
    if not 0 < value < float("inf"):
        raise UsageError(f"threshold={text} is not above 0", HINT)
    return ThresholdRule("cost" if colon or value >= 1 else "fixed", value)
