"""Stopping a bad trial early, by what the others had reached at the same epoch.

Against the best ever reached, a trial that has only begun looks bad: of the recorded curves of two searches
that rule stopped the eventual winner in most orders, and this one, looked at every second epoch, in none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from mlctl.domain.objective import Objective
from mlctl.errors import UsageError, did_you_mean

Curves = Mapping[str, Sequence[float]]
SIGNED = (
    "r2", "r2_score", "explained_variance", "cosine_similarity", "poisson", "log_likelihood", "mcc", "kappa",
    "correlation",
)  # fmt: skip # what may be negative, of the metrics that have a name


class Rule(Protocol):
    """A rule of early termination."""

    def verdict(self, own: Sequence[float], others: Curves) -> str:
        """Return why this trial, its objective by epoch, should stop, or "" where it should go on."""


@dataclass(frozen=True)
class Bandit:
    """Stop what is worse than the best at the same epoch by more than a factor, or by more than an amount.

    It looks every `interval` epochs, after the first `delay`. Where a factor meets a number below 0 it does not
    compare, and tells why once.
    """

    objective: Objective
    slack: float | None
    amount: float | None
    interval: int = 2
    delay: int = 1
    tell: Callable[[str], None] = field(default=lambda _: None, compare=False)

    def verdict(self, own: Sequence[float], others: Curves) -> str:
        """Return why to stop, or ""."""
        epoch = len(own)
        if epoch <= self.delay or epoch % self.interval:
            return ""
        rivals = [_best(curve[:epoch], self.objective) for curve in others.values() if len(curve) >= epoch]
        reached, best = _best(own, self.objective), _best(rivals, self.objective)
        if math.isnan(best):  # nobody has come so far with a number
            return ""
        if self.slack is not None and min(best, reached) < 0:
            self.tell(
                f"a factor of a number below 0 means nothing: --stop compares no {self.objective.metric} there; "
                "bandit:amount=… would"
            )
            return ""
        limit = self._limit(best)
        if (reached >= limit) if self.objective.maximize else (reached <= limit):
            return ""
        return (
            f"{self.objective.metric} {reached:.4g} at epoch {epoch}, where the best had {best:.4g} (bandit)"
        )

    def _limit(self, best: float) -> float:
        if self.slack is not None:
            return best / (1 + self.slack) if self.objective.maximize else best * (1 + self.slack)
        assert self.amount is not None
        return best - self.amount if self.objective.maximize else best + self.amount


@dataclass(frozen=True)
class Median:
    """Stop what is worse than the median of the others' running means at the same epoch, after `delay` epochs."""

    objective: Objective
    interval: int = 1
    delay: int = 1

    def verdict(self, own: Sequence[float], others: Curves) -> str:
        """Return why to stop, or ""."""
        epoch = len(own)
        begun = [_numbers(curve[:epoch]) for curve in others.values() if len(curve) >= epoch]
        means = [statistics.fmean(numbers) for numbers in begun if numbers]
        if epoch <= self.delay or epoch % self.interval or len(means) < 2:
            return ""
        reached, median = _best(own, self.objective), statistics.median(means)
        if not self.objective.better(median, reached):
            return ""
        return f"{self.objective.metric} {reached:.4g} at epoch {epoch}, below half of the others (median {median:.4g})"


def rule(text: str, objective: Objective, say: Callable[[str], None] = lambda _: None) -> Rule:
    """Read --stop: `bandit:slack=0.1,interval=2,delay=1`, `bandit:amount=0.02`, `median:delay=1`.

    `say` hears what a user should know, each thing once. Raises UsageError for what is none of these, and for a
    factor on a metric that is known to go below 0.
    """
    kind, _, rest = text.partition(":")
    known = {"bandit": ("slack", "amount", "interval", "delay"), "median": ("interval", "delay")}
    if kind not in known:
        raise UsageError(
            f"--stop {text}: there is no rule {kind!r}",
            did_you_mean(kind, known) or "bandit:slack=0.1 or median",
        )
    given: dict[str, float] = {}
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        if name not in known[kind]:
            raise UsageError(f"--stop {text}: {kind} takes no {name!r}", f"it takes {', '.join(known[kind])}")
        try:
            given[name] = float(value)
        except ValueError:
            raise UsageError(f"--stop {text}: {part!r} has no number", f"write {name}=1") from None
        if given[name] < (0 if name == "delay" else 1 if name == "interval" else 1e-12):
            raise UsageError(f"--stop {text}: {name} is too small", "slack and amount are above 0")
    whole = {name: int(given[name]) for name in ("interval", "delay") if name in given}
    if kind == "median":
        return Median(objective, **whole)
    if ("slack" in given) == ("amount" in given):
        raise UsageError(f"--stop {text} needs slack or amount, one of them", "bandit:slack=0.1,interval=2")
    if "slack" in given and objective.metric.removeprefix("val_") in SIGNED:
        raise UsageError(
            f"--stop {text}: {objective.metric} may be negative, and a factor of such a number means nothing",
            "give an amount: --stop bandit:amount=0.1",
        )
    return Bandit(objective, given.get("slack"), given.get("amount"), **whole, tell=cache(say))


def _best(values: Sequence[float], objective: Objective) -> float:
    """Return the best number among values; NaN, which is worse than any, where there is none."""
    return (max if objective.maximize else min)(_numbers(values), default=math.nan)


def _numbers(values: Sequence[float]) -> list[float]:
    return [one for one in values if math.isfinite(one)]
