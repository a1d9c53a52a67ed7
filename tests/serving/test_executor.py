"""What runs on the event loop, what waits, and what happens to calls that take too long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from mlctl.serving import executor as module
from mlctl.serving.call_costs import MIN_CALLS, CallCosts
from mlctl.serving.executor import PredictionExecutor
from mlctl.serving.payloads.request_error import RequestError

pytestmark = pytest.mark.unit


def short() -> str:
    return threading.current_thread().name


def executor(**options: object) -> PredictionExecutor:
    return PredictionExecutor(**{"timeout_s": 5.0, "may_inline": True, **options})  # type: ignore[arg-type]


def test_only_sizes_that_were_measured_run_on_the_loop() -> None:
    async def check() -> None:
        calls = executor()
        loop_thread = threading.current_thread().name
        threads = [await calls.run(short, size=1000) for _ in range(MIN_CALLS + 1)]
        assert loop_thread not in threads
        assert await calls.run(short, size=1000) == loop_thread
        assert await calls.run(short, size=100) == loop_thread
        assert await calls.run(short, size=100_000) != loop_thread
        assert await calls.run(short, size=1000, kind="text/csv") != loop_thread
        assert await calls.run(short, size=None) != loop_thread

    asyncio.run(check())


def test_a_model_of_any_code_never_runs_on_the_loop() -> None:
    async def check() -> None:
        calls = executor(may_inline=False)
        assert {await calls.run(short, size=10) for _ in range(20)} == {"mlctl-call"}

    asyncio.run(check())


@pytest.mark.parametrize("work", [lambda: time.sleep(0.004), lambda: spin(0.004)], ids=["sleeps", "computes"])
def test_a_call_of_several_milliseconds_is_never_short(work: Callable[[], None]) -> None:
    costs = CallCosts()
    for _ in range(MIN_CALLS + 2):
        costs.measure(work, size=1000)
    assert not costs.is_surely_short(size=1000)
    assert not costs.is_surely_short(size=900)


def test_requests_that_are_refused_at_once_do_not_make_a_size_short() -> None:
    costs = CallCosts()
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            costs.measure(lambda: 1 // 0, size=10_000)
    assert not costs.is_surely_short(size=10_000)


def test_a_long_call_ends_its_size() -> None:
    costs = CallCosts()
    for _ in range(20):
        costs.measure(lambda: None, size=1000)
    assert costs.is_surely_short(size=1000)
    costs.measure(lambda: time.sleep(0.06), size=1000)
    assert not costs.is_surely_short(size=1000)


def test_an_overdue_call_answers_504_and_another_thread_takes_over() -> None:
    async def check() -> None:
        calls = executor(timeout_s=0.05, threads=1)
        reports = []
        calls.on_overdue = lambda: reports.append("overdue")
        held = threading.Event()
        with pytest.raises(RequestError) as refused:
            await calls.run(lambda: held.wait(10), size=1)
        assert refused.value.status == 504
        assert reports == ["overdue"]
        assert calls.overdue == 1
        assert await calls.run(lambda: "answered", size=1) == "answered"
        assert calls.is_ready
        held.set()
        while calls.overdue:
            await asyncio.sleep(0.005)
        assert await calls.run(lambda: "again", size=1) == "again"

    asyncio.run(check())


def test_a_full_queue_answers_503_with_retry_after() -> None:
    async def check() -> None:
        calls = executor(threads=1, max_queue=2)
        held = threading.Event()
        others = [asyncio.create_task(calls.run(lambda: held.wait(10), size=1)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not calls.is_ready
        with pytest.raises(RequestError) as refused:
            await calls.run(short, size=1)
        assert refused.value.status == 503
        assert int(dict(refused.value.headers)[b"retry-after"]) >= 1
        held.set()
        assert await asyncio.gather(*others) == [True] * 3
        assert calls.is_ready

    asyncio.run(check())


def test_a_request_that_waited_too_long_is_refused_and_never_runs() -> None:
    async def check() -> None:
        calls = executor(threads=1, timeout_s=0.1)
        ran = []
        others = [asyncio.create_task(calls.run(lambda: time.sleep(0.07), size=1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as refused:
            await calls.run(lambda: ran.append(1), size=1)
        assert refused.value.status == 503
        await asyncio.gather(*others, return_exceptions=True)
        assert ran == []
        assert calls.overdue == 0  # the second one started late, and is not at fault

    asyncio.run(check())


def test_calls_that_only_sleep_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RELIEF_S", 0.02)

    async def check() -> None:
        calls = executor(threads=2)
        held = threading.Event()
        others = [asyncio.create_task(calls.run(lambda: held.wait(10), size=1)) for _ in range(5)]
        await asyncio.sleep(0)
        assert await calls.run(lambda: "answered", size=1) == "answered"
        held.set()
        assert await asyncio.gather(*others) == [True] * 5
        assert await calls.run(lambda: "again", size=1) == "again"

    asyncio.run(check())


def test_the_models_own_exception_is_raised() -> None:
    async def check() -> None:
        calls = executor()
        for error in (TimeoutError("of the model"), KeyError("x")):
            with pytest.raises(type(error)):
                await calls.run(lambda error=error: raise_(error), size=1)

    asyncio.run(check())


def raise_(error: Exception) -> None:
    raise error


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
