"""Rollouts: their steps and guards, and the statistics that decide whether a guard is breached.

Every guard is a statement about a share of the new version's requests: `error_rate<=1%` says that at most 1 % fail,
`p95<=50ms` that at most 5 % take longer than 50 ms, and `agreement>=95%` that at most 5 % of the compared rows differ.
Such a statement is tested each time that new requests were counted. For several larger shares, the Shiryaev-Roberts
statistic adds up how much more likely the counts are under the larger share, over all times at which the share may
have begun to be too large. So a version that breaks after an hour is found as fast as one that is broken from its
first request. If the guard holds, the mean of the statistics over the larger shares exceeds A within T updates with
a probability of at most T / A, whatever the requests are; A is chosen so that this is 1 % in a whole rollout.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import deque
from dataclasses import dataclass, field

from mlctl.domain.latency import count_slower, quantile, slowest
from mlctl.domain.version_counts import VersionCounts
from mlctl.errors import UsageError
from mlctl.units import parse_duration

CHECK_INTERVAL_S = 0.5
FALSE_ALARMS = 0.01  # probability that a guard which holds is breached in a rollout
MIN_UPDATES = 1000
MIN_REQUESTS = 20  # of the new version, before its latencies and answers are judged, and before a step ends
MIN_STABLE_REQUESTS = 100  # of the old version, before it is compared with
RECENT_S = 10.0  # the old version's latency is also taken from this time, since its load changes
DEVIATIONS = 3.0  # the limit follows from the upper end of the old version's interval
MIN_WAIT_S, SLOWEST_FACTOR, LIMIT_FACTOR = 0.25, 3.0, 2.0  # see wait_s
UNGUARDED_WAIT_S, UNGUARDED_FACTOR = 1.0, 10.0
DEFAULT_GUARD = "error_rate<=1%"
# larger shares that are tested, as parts of the way from the limit to 1
ALTERNATIVES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 0.8, 0.95)

_GUARD = re.compile(r"(error_rate|agreement|p50|p95|p99)(<=|>=)([\d.]+)(%|x|ms|s|m)")
_GUARD_EXAMPLES = "write it as 'error_rate<=1%', 'p95<=1.2x', 'p99<=50ms' or 'agreement>=95%'"


@dataclass(frozen=True)
class Guard:
    """A condition that the new version must fulfil.

    Attributes:
        metric: "error_rate", "agreement", "p50", "p95" or "p99".
        limit: A share, seconds, or a factor.
        is_relative: The limit is a factor of the old version's value.
        text: The condition as the user wrote it.
    """

    metric: str
    limit: float
    is_relative: bool
    text: str

    @property
    def wanted(self) -> str:
        """The condition without its metric, such as <=1%."""
        return self.text.removeprefix(self.metric)


@dataclass(frozen=True, kw_only=True)
class RolloutPlan:
    """What a rollout does.

    Attributes:
        steps: Share of the requests that the new version gets in each step; the last is 1.
        every_s: Seconds that a step takes.
        guards: Conditions that the new version must fulfil.
        sticky: Header whose value decides which version a client gets; "" chooses each request at random.
        promote: Promote the new version at the end.
    """

    steps: tuple[float, ...]
    every_s: float
    guards: tuple[Guard, ...]
    sticky: str = ""
    promote: bool = False


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A guard that the new version did not fulfil; `found` is its value, `reason` says it in words."""

    guard: Guard
    found: float
    reason: str


def parse_steps(text: str) -> tuple[float, ...]:
    """Return the shares of a text such as 5%,25%,100%. Raises UsageError unless they grow to 100 %."""
    shares = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", part.strip())
        if not match:
            raise UsageError(f"invalid step {part.strip()!r} in --steps", "example: --steps 5%,25%,100%")
        shares.append(float(match[1]) / 100)
    if shares[0] <= 0 or shares[-1] != 1 or any(a >= b for a, b in itertools.pairwise(shares)):
        raise UsageError(
            f"the steps {text} do not grow from more than 0% to 100%", "example: --steps 5%,25%,100%"
        )
    return tuple(shares)


def parse_guard(text: str) -> Guard:
    """Return the guard of a text such as p95<=1.2x. Raises UsageError for any other form."""
    compact = re.sub(r"\s+", "", text)
    match = _GUARD.fullmatch(compact)
    if not match or match[3].count(".") > 1 or match[3] == ".":
        raise UsageError(f"invalid guard {text!r}", _GUARD_EXAMPLES)
    metric, sign, number, unit = match.groups()
    if (sign == ">=") != (metric == "agreement"):
        side = "a lower" if metric == "agreement" else "an upper"
        raise UsageError(f"invalid guard {text!r}: {metric} has {side} limit", _GUARD_EXAMPLES)
    value = float(number)
    if metric in {"error_rate", "agreement"}:
        if unit == "x" and metric == "error_rate" and value >= 1:
            return Guard(metric, value, True, compact)
        if unit != "%" or not (0 <= value < 100 if metric == "error_rate" else 0 < value <= 100):
            raise UsageError(f"invalid guard {text!r}: {metric} is a share of 0% to 100%", _GUARD_EXAMPLES)
        return Guard(metric, value / 100, False, compact)
    if unit == "x":
        if value < 1:
            raise UsageError(f"invalid guard {text!r}: the factor is below 1", _GUARD_EXAMPLES)
        return Guard(metric, value, True, compact)
    if unit == "%" or value <= 0:
        raise UsageError(f"invalid guard {text!r}: {metric} is a duration or a factor", _GUARD_EXAMPLES)
    seconds = value / 1000 if unit == "ms" else parse_duration(number + unit)
    return Guard(metric, seconds, False, compact)


def parse_guards(texts: tuple[str, ...]) -> tuple[Guard, ...]:
    """Return the guards of these texts; the error rate is always guarded. Raises UsageError."""
    guards = [parse_guard(text) for text in texts]
    if not any(guard.metric == "error_rate" for guard in guards):
        guards.insert(0, parse_guard(DEFAULT_GUARD))
    return tuple(guards)


class ShareTest:
    """Tests whether a share is larger than its limit, each time that observations are added."""

    def __init__(self, updates: int) -> None:
        """Prepare for a number of updates, in all of which together a false alarm has the probability FALSE_ALARMS."""
        self._log_limit = math.log(max(updates, MIN_UPDATES) / FALSE_ALARMS)
        self._log_statistics = [-math.inf] * len(ALTERNATIVES)

    def update(self, limit: float, total: float, bad: float) -> bool:
        """Add observations, some of which are bad; return whether the share of these is larger than the limit."""
        if total <= 0:
            return False
        limit = min(max(limit, 1e-9), 1 - 1e-9)
        for index, part in enumerate(ALTERNATIVES):
            share = limit + (1 - limit) * part
            evidence = bad * math.log(share / limit) + (total - bad) * math.log((1 - share) / (1 - limit))
            self._log_statistics[index] = _log_one_plus(self._log_statistics[index]) + evidence
        highest = max(self._log_statistics)
        mean = sum(math.exp(value - highest) for value in self._log_statistics) / len(ALTERNATIVES)
        return highest + math.log(mean) >= self._log_limit


@dataclass
class _GuardState:
    test: ShareTest
    judged: VersionCounts  # the new version's counts that the test has seen


@dataclass
class GuardMonitor:
    """Judges the new version of a rollout by its guards. Pass the counts of both versions from the start of the rollout."""

    plan: RolloutPlan
    _stable_history: deque[tuple[float, VersionCounts]] = field(default_factory=deque)
    _step_start: VersionCounts = field(default_factory=VersionCounts)
    _states: list[_GuardState] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start all tests."""
        updates = math.ceil(len(self.plan.steps) * self.plan.every_s / CHECK_INTERVAL_S)
        self._states = [_GuardState(ShareTest(updates), VersionCounts()) for _ in self.plan.guards]

    def start_step(self, stable: VersionCounts) -> None:
        """Note the old version's counts at the start of a step."""
        self._step_start = stable

    def check(self, now: float, stable: VersionCounts, candidate: VersionCounts) -> Breach | None:
        """Return the first guard that is breached by these counts, or None."""
        self._stable_history.append((now, stable))
        while len(self._stable_history) > 1 and self._stable_history[1][0] <= now - RECENT_S:
            self._stable_history.popleft()
        for guard, state in zip(self.plan.guards, self._states, strict=True):
            if (breach := self._check(guard, state, stable, candidate)) is not None:
                return breach
        return None

    def wait_s(self, stable: VersionCounts, timeout_s: float) -> float:
        """Return how long a request may wait for the new version before the old one answers it.

        At least three times the slowest request of the old version, and twice what a guard of the latency allows; ten
        times the slowest request if there is no such guard. At most half of the endpoint's timeout.

        Args:
            stable: What was counted of the old version since the endpoint was started.
            timeout_s: Seconds that the endpoint has to answer a request.
        """
        if stable.requests < MIN_STABLE_REQUESTS:
            return timeout_s / 2
        limits = []
        for guard in self.plan.guards:
            if guard.metric.startswith("p"):
                value = quantile(stable.histogram, _quantile_of(guard)) or 0.0
                limits.append(LIMIT_FACTOR * guard.limit * (value if guard.is_relative else 1.0))
        least = MIN_WAIT_S if limits else UNGUARDED_WAIT_S
        factor = SLOWEST_FACTOR if limits else UNGUARDED_FACTOR
        return min(max([*limits, factor * slowest(stable.histogram), least]), timeout_s / 2)

    def _check(
        self, guard: Guard, state: _GuardState, stable: VersionCounts, candidate: VersionCounts
    ) -> Breach | None:
        new = candidate - state.judged
        if guard.metric == "error_rate":
            limit = self._error_limit(guard, stable)
            total, bad, found = new.requests, new.errors, candidate.error_rate
        elif guard.metric == "agreement":
            limit, total, bad, found = 1 - guard.limit, new.compared, new.disagreed, candidate.agreement
            if candidate.compared < MIN_REQUESTS:
                return None
        else:
            seconds = self._seconds(guard, stable)
            if seconds is None or candidate.requests < MIN_REQUESTS:
                return None
            limit, total = 1 - _quantile_of(guard), sum(new.histogram)
            bad, found = count_slower(new.histogram, seconds), candidate.percentile(100 * _quantile_of(guard))
        if limit is None or found is None:
            return None
        state.judged = candidate
        if not state.test.update(limit, total, bad):
            return None
        return Breach(guard=guard, found=found, reason=self._reason(guard, found, stable, candidate))

    def _error_limit(self, guard: Guard, stable: VersionCounts) -> float | None:
        if not guard.is_relative:
            return guard.limit
        if stable.requests < MIN_STABLE_REQUESTS:
            return None
        return min(guard.limit * _upper_share(stable.errors, stable.requests), 0.999)

    def _seconds(self, guard: Guard, stable: VersionCounts) -> float | None:
        """Return the latency that a guard allows; None if the old version has too few requests to compare with."""
        if not guard.is_relative:
            return guard.limit
        recent = self._stable_history[0][1] if self._stable_history else VersionCounts()
        candidates = [stable - recent, stable - self._step_start]
        large = [counts for counts in candidates if counts.requests >= MIN_STABLE_REQUESTS]
        if not large and stable.requests >= MIN_STABLE_REQUESTS:
            large = [stable]
        values = [quantile(counts.histogram, _quantile_of(guard), deviations=DEVIATIONS) for counts in large]
        known = [value for value in values if value is not None]
        return guard.limit * max(known) if known else None

    def _reason(self, guard: Guard, found: float, stable: VersionCounts, candidate: VersionCounts) -> str:
        if guard.metric == "error_rate":
            counts = f"{candidate.errors:,.0f} of {candidate.requests:,.0f} requests failed"
            return f"{guard.text} does not hold: {counts}"
        if guard.metric == "agreement":
            return (
                f"{guard.text} does not hold: the answers to {candidate.compared:,.0f} requests agree in "
                f"{100 * found:.3g}% of the rows"
            )
        own = stable.percentile(100 * _quantile_of(guard))
        beside = f", against {_milliseconds(own)} of the old version" if guard.is_relative and own else ""
        return (
            f"{guard.text} does not hold: {guard.metric} is {_milliseconds(found)} in "
            f"{candidate.requests:,.0f} requests{beside}"
        )


def _quantile_of(guard: Guard) -> float:
    return int(guard.metric[1:]) / 100


def _log_one_plus(log_value: float) -> float:
    """Return log(1 + exp(log_value)) without an overflow."""
    return log_value + math.log1p(math.exp(-log_value)) if log_value > 0 else math.log1p(math.exp(log_value))


def _upper_share(bad: float, total: float) -> float:
    """Return the upper end of Wilson's interval of a share."""
    z2 = DEVIATIONS**2
    share = bad / total
    spread = DEVIATIONS * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return (share + z2 / (2 * total) + spread) / (1 + z2 / total)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
