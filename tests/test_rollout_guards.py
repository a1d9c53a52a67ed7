"""Steps and guards of rollouts: what they accept, and what their statistics find and do not find."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlctl.domain.latency import BUCKETS, EDGES, bucket_of, count_slower, quantile, slowest
from mlctl.domain.rollout import (
    CHECK_INTERVAL_S,
    MIN_REQUESTS,
    GuardMonitor,
    RolloutPlan,
    ShareTest,
    parse_guard,
    parse_guards,
    parse_steps,
)
from mlctl.domain.version_counts import VersionCounts
from mlctl.errors import UsageError

pytestmark = pytest.mark.unit


def counts(latencies: list[float] | None = None, **fields: float) -> VersionCounts:
    histogram = [0.0] * BUCKETS
    for seconds in latencies or []:
        histogram[bucket_of(seconds)] += 1
    return VersionCounts(histogram=tuple(histogram), answered=len(latencies or []), **fields)


def monitor(*guards: str) -> GuardMonitor:
    return GuardMonitor(RolloutPlan(steps=(0.05, 1.0), every_s=60, guards=parse_guards(guards)))


@settings(deadline=None)
@given(st.sets(st.integers(1, 999), max_size=6))
def test_growing_steps_are_read_back(shares: set[int]) -> None:
    steps = [*sorted(shares), 1000]
    assert parse_steps(",".join(f"{share / 10}%" for share in steps)) == pytest.approx(
        [share / 1000 for share in steps]
    )


@pytest.mark.parametrize(
    "text", ["", "5", "5%", "0%,100%", "25%,5%,100%", "5%,5%,100%", "5%,101%", "a%,100%", "5%;100%"]
)
def test_other_steps_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_steps(text)


@pytest.mark.parametrize(
    ("text", "metric", "limit", "is_relative"),
    [
        ("error_rate<=1%", "error_rate", 0.01, False),
        ("error_rate <= 2x", "error_rate", 2, True),
        ("p50<=50ms", "p50", 0.05, False),
        ("p99<=1.5s", "p99", 1.5, False),
        ("p95<=1.2x", "p95", 1.2, True),
        ("agreement>=95%", "agreement", 0.95, False),
    ],
)
def test_a_guard_is_read(text: str, metric: str, limit: float, is_relative: bool) -> None:
    guard = parse_guard(text)
    assert (guard.metric, guard.limit, guard.is_relative) == (metric, pytest.approx(limit), is_relative)


@pytest.mark.parametrize(
    "text",
    [
        *("", "p95", "p95<1s", "p95>=1s", "p90<=1s", "p95<=0.9x", "p95<=5%", "p95<=0s", "p95<=1.2.3x"),
        *("error_rate<=101%", "error_rate<=5ms", "error_rate<=0.5x"),
        *("agreement<=95%", "agreement>=0%", "agreement>=2x"),
    ],
)
def test_another_guard_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_guard(text)
    assert caught.value.hint


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_a_guard_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert parse_guard(text).limit >= 0


def test_the_error_rate_is_always_guarded() -> None:
    assert [guard.text for guard in parse_guards(("p95<=1.2x",))] == ["error_rate<=1%", "p95<=1.2x"]
    assert [guard.text for guard in parse_guards(("error_rate<=5%",))] == ["error_rate<=5%"]


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=50), st.floats(0.01, 0.99))
def test_a_quantile_is_exact_to_the_width_of_a_bucket(latencies: list[float], q: float) -> None:
    found = quantile(counts(latencies).histogram, q)
    exact = sorted(latencies)[max(0, -(-int(q * 1e9) * len(latencies) // 10**9) - 1)]
    assert found is not None
    assert found <= EDGES[min(bucket_of(exact), len(EDGES) - 1)] * 1.0001
    assert found >= exact / 1.06 - EDGES[0]
    assert slowest(counts(latencies).histogram) * 1.0001 >= max(latencies)


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 100), max_size=50), st.floats(1e-4, 10))
def test_only_surely_slower_requests_are_counted(latencies: list[float], limit: float) -> None:
    slower = count_slower(counts(latencies).histogram, limit)
    assert sum(value > limit * 1.1025 for value in latencies) <= slower + 1e-9
    assert slower <= sum(value > limit for value in latencies)


def breaches(true_share: float, limit: float, *, checks: int, requests: int, seed: int) -> int | None:
    """Return how many requests a test needs to find that the share is too large; None if it does not."""
    draw, test = random.Random(seed), ShareTest(3600)
    for check in range(1, checks + 1):
        bad = sum(draw.random() < true_share for _ in range(requests))
        if test.update(limit, requests, bad):
            return check * requests
    return None


@pytest.mark.parametrize("limit", [0.01, 0.05])
def test_a_share_at_its_limit_raises_no_alarm(limit: float) -> None:
    alarms = [breaches(limit, limit, checks=300, requests=5, seed=seed) for seed in range(40)]
    assert sum(alarm is not None for alarm in alarms) <= 2


@pytest.mark.parametrize(
    ("share", "limit", "most"), [(1, 0.01, 10), (0.3, 0.01, 60), (0.5, 0.05, 60), (1, 0.5, 60)]
)
def test_a_share_far_above_its_limit_is_found_soon(share: float, limit: float, most: int) -> None:
    for seed in range(10):
        needed = breaches(share, limit, checks=100, requests=5, seed=seed)
        assert needed is not None
        assert needed <= most


def test_a_version_that_breaks_late_is_found_as_soon() -> None:
    test = ShareTest(3600)
    assert not any(test.update(0.01, 50, 0) for _ in range(200))
    assert any(test.update(0.01, 5, 5) for _ in range(3))


def test_one_slow_or_failed_request_is_no_alarm() -> None:
    watched = monitor("p99<=50ms", "error_rate<=1%")
    assert watched.check(0, counts([0.01] * 500), counts([0.01] * 99 + [5.0], errors=1)) is None


def test_a_slower_version_breaches_a_relative_guard() -> None:
    watched = monitor("p95<=1.2x")
    assert watched.check(0, counts([0.010] * 500), counts([0.011] * 300)) is None
    breach = watched.check(1, counts([0.010] * 1000), counts([0.011] * 300 + [0.020] * 100))
    assert breach is not None
    assert breach.guard.text == "p95<=1.2x"
    assert "20" in breach.reason
    assert "against" in breach.reason


def test_both_versions_slow_at_the_same_time_is_no_alarm() -> None:
    watched = monitor("p95<=1.2x")
    slow, fast = [0.05] * 200, [0.01] * 1000
    assert watched.check(0, counts(fast), counts([0.01] * 100)) is None
    assert watched.check(20, counts(fast + slow), counts([0.01] * 100 + [0.05] * 50)) is None


def test_too_few_requests_are_not_judged() -> None:
    watched = monitor("p95<=1.2x", "agreement>=95%")
    few = counts([1.0] * (MIN_REQUESTS - 1), compared=MIN_REQUESTS - 1, disagreed=MIN_REQUESTS - 1)
    assert watched.check(0, counts([0.01] * 500), few) is None
    assert watched.check(1, counts([0.01] * 50), counts([1.0] * 100)) is None  # nothing to compare with


def test_disagreement_and_errors_breach_their_guards() -> None:
    wrong = monitor("agreement>=95%").check(0, counts(), counts(compared=30, disagreed=30.0))
    assert wrong is not None
    assert "agree in 0%" in wrong.reason
    failing = monitor().check(0, counts(), counts([0.01] * 5, errors=5))
    assert failing is not None
    assert failing.reason == "error_rate<=1% does not hold: 5 of 10 requests failed"


@pytest.mark.parametrize("guards", [(), ("p95<=1.2x",), ("p99<=20ms",)])
def test_a_request_waits_longer_than_any_of_the_old_version_but_not_half_of_the_timeout(
    guards: tuple[str, ...],
) -> None:
    watched = monitor(*guards)
    assert watched.wait_s(counts(), 30.0) == 15.0
    wait_s = watched.wait_s(counts([0.010] * 500 + [0.2]), 30.0)
    assert 0.6 <= wait_s <= 3.0
    assert watched.wait_s(counts([8.0] * 500), 30.0) == 15.0


def test_counts_add_up_and_subtract() -> None:
    a, b = counts([0.1, 0.2], errors=1), counts([0.3], refused=2)
    assert (a + b) - b == a
    assert (a + b).requests == 4
    assert CHECK_INTERVAL_S <= 1
