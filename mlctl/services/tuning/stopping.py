"""Stop rules: end a bad trial early, by what the other trials had reached at the same epoch.

To add a rule, write a class with `from_options` and `reason_to_stop`, and add its line to STOP_RULES.

A rule that compares with the best value ever reached stops trials that have only begun: on the recorded curves
of two searches it stopped the eventual winner in most orders. The rules here compare at the same epoch; checked
every second epoch, they stopped it in none.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Protocol, Self

from mlctl.domain.objective import Objective
from mlctl.errors import UsageError, did_you_mean

Curves = Mapping[str, Sequence[float]]
Notify = Callable[[str], None]
SIGNED_METRICS = (  # metrics with a name that may be negative
    "r2",
    "r2_score",
    "explained_variance",
    "cosine_similarity",
    "poisson",
    "log_likelihood",
    "mcc",
    "kappa",
    "correlation",
)


class StopRule(Protocol):
    """A rule of early termination. `OPTIONS` names its options, each with its smallest value."""

    OPTIONS: ClassVar[Mapping[str, float]]

    @classmethod
    def from_options(cls, options: Mapping[str, float], objective: Objective, notify: Notify) -> Self:
        """Return the rule with these options; raises UsageError. `notify` shows the user a message."""

    def reason_to_stop(self, curve: Sequence[float], others: Curves) -> str:
        """Return why a trial should stop, or "" if it should continue.

        Args:
            curve: the trial's objective by epoch.
            others: the curves of the other trials.

        """


@dataclass(frozen=True, kw_only=True)
class Bandit:
    """Stop a trial that is worse than the best at the same epoch by more than a factor or an amount.

    It compares every `interval` epochs, after the first `delay`. It does not apply a factor to a negative
    number: it notifies once and lets the trial continue.
    """

    OPTIONS: ClassVar[Mapping[str, float]] = {"slack": 1e-12, "amount": 1e-12, "interval": 1, "delay": 0}

    objective: Objective
    slack: float | None = None
    amount: float | None = None
    interval: int = 2
    delay: int = 1
    notify: Notify = field(default=lambda _: None, compare=False)

    @classmethod
    def from_options(cls, options: Mapping[str, float], objective: Objective, notify: Notify) -> Self:
        """Return the rule with these options."""
        if ("slack" in options) == ("amount" in options):
            raise UsageError("bandit needs either slack or amount", "bandit:slack=0.1,interval=2")
        if "slack" in options and objective.metric.removeprefix("val_") in SIGNED_METRICS:
            raise UsageError(
                f"{objective.metric} may be negative, and a factor of a negative number means nothing",
                "give an amount: --stop bandit:amount=0.1",
            )
        return cls(
            objective=objective,
            slack=options.get("slack"),
            amount=options.get("amount"),
            notify=cache(notify),
            **_whole_numbers(options),
        )

    def reason_to_stop(self, curve: Sequence[float], others: Curves) -> str:
        """Return why to stop, or ""."""
        epoch = len(curve)
        if epoch <= self.delay or epoch % self.interval:
            return ""
        rivals = [_best(other[:epoch], self.objective) for other in others.values() if len(other) >= epoch]
        reached, best = _best(curve, self.objective), _best(rivals, self.objective)
        if math.isnan(best):  # no other trial has a number at this epoch
            return ""
        if self.slack is not None and min(best, reached) < 0:
            self.notify(
                f"--stop does not compare {self.objective.metric} below 0, where a factor means nothing; "
                "use bandit:amount=…"
            )
            return ""
        limit = self._limit(best)
        if (reached >= limit) if self.objective.maximize else (reached <= limit):
            return ""
        return f"{self.objective.metric} {reached:.4g} at epoch {epoch}, the best had {best:.4g} (bandit)"

    def _limit(self, best: float) -> float:
        if self.slack is not None:
            return best / (1 + self.slack) if self.objective.maximize else best * (1 + self.slack)
        assert self.amount is not None
        return best - self.amount if self.objective.maximize else best + self.amount


@dataclass(frozen=True)
class Median:
    """Stop a trial that is worse than the median of the others' running means at the same epoch."""

    OPTIONS: ClassVar[Mapping[str, float]] = {"interval": 1, "delay": 0}

    objective: Objective
    interval: int = 1
    delay: int = 1

    @classmethod
    def from_options(cls, options: Mapping[str, float], objective: Objective, notify: Notify) -> Self:
        """Return the rule with these options."""
        return cls(objective, **_whole_numbers(options))

    def reason_to_stop(self, curve: Sequence[float], others: Curves) -> str:
        """Return why to stop, or ""."""
        epoch = len(curve)
        finite = [_finite(other[:epoch]) for other in others.values() if len(other) >= epoch]
        means = [statistics.fmean(values) for values in finite if values]
        if epoch <= self.delay or epoch % self.interval or len(means) < 2:
            return ""
        reached, median = _best(curve, self.objective), statistics.median(means)
        if not self.objective.is_better(median, reached):
            return ""
        return (
            f"{self.objective.metric} {reached:.4g} at epoch {epoch}, "
            f"{'below' if self.objective.maximize else 'above'} the others' median {median:.4g}"
        )


STOP_RULES: Mapping[str, type[StopRule]] = {"bandit": Bandit, "median": Median}


def parse_stop_rule(text: str, objective: Objective, notify: Notify = lambda _: None) -> StopRule:
    """Parse --stop: `bandit:slack=0.1,interval=2,delay=1`, `bandit:amount=0.02`, `median:delay=1`.

    `notify` shows the user a message; each one is shown once. Raises UsageError.
    """
    name, _, rest = text.partition(":")
    if name not in STOP_RULES:
        raise UsageError(
            f"--stop {text}: there is no rule {name!r}",
            did_you_mean(name, STOP_RULES) or f"there are: {', '.join(STOP_RULES)}",
        )
    rule = STOP_RULES[name]
    options: dict[str, float] = {}
    for part in filter(None, rest.split(",")):
        option, _, value = part.partition("=")
        if option not in rule.OPTIONS:
            raise UsageError(
                f"--stop {text}: {name} has no option {option!r}", f"it has: {', '.join(rule.OPTIONS)}"
            )
        try:
            options[option] = float(value)
        except ValueError:
            raise UsageError(f"--stop {text}: {part!r} has no number", f"write {option}=1") from None
        if options[option] < rule.OPTIONS[option]:
            raise UsageError(f"--stop {text}: {option} is too small", f"raise {option}")
    try:
        return rule.from_options(options, objective, notify)
    except UsageError as exc:
        raise UsageError(f"--stop {text}: {exc.message}", exc.hint) from exc


def _whole_numbers(options: Mapping[str, float]) -> dict[str, int]:
    return {name: int(options[name]) for name in ("interval", "delay") if name in options}


def _best(values: Sequence[float], objective: Objective) -> float:
    """Return the best number; NaN, which is worse than any, if there is none."""
    return (max if objective.maximize else min)(_finite(values), default=math.nan)


def _finite(values: Sequence[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
