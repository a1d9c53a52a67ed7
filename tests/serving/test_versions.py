"""Which version an endpoint serves after promotions to good and to broken versions. No process is started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion
from mlctl.serving.supervision import versions
from mlctl.serving.supervision.versions import VersionSwitch
from mlctl.serving.supervision.worker_process import WorkerStartError

pytestmark = pytest.mark.unit


class FakePool:
    """A pool whose version says in its folder's name how it behaves: good, leave or hang."""

    def __init__(self, spec: EndpointSpec, serving: ServedVersion, *, is_local: bool = False) -> None:
        self.serving = serving
        self.address = SimpleNamespace(path="socket") if is_local else None
        self.on_death: Callable[[str], None] = lambda reason: None
        self.on_message: Callable[[dict[str, Any]], None] = lambda message: None
        self.has_address = self.is_stopped = False
        self.sent: dict[str, Any] = {}

    async def start(self) -> None:
        if self.serving.folder == "hang":
            await asyncio.sleep(100)
        if self.serving.folder == "leave":
            raise WorkerStartError("its process ended (exit code 3)")

    def activate(self) -> None:
        self.has_address = True

    def keep_number(self) -> None:
        pass

    def send(self, key: str, content: Any) -> None:
        self.sent[key] = content

    def stop(self) -> None:
        self.is_stopped = True

    kill = stop

    async def wait(self) -> None:
        pass


def served(version: str, behaviour: str = "good") -> ServedVersion:
    return ServedVersion(name="M", version=version, uri=f"models:/M/{version}", folder=behaviour)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "WorkerPool", FakePool)
    monkeypatch.setattr(versions, "GIVE_WAY_S", 0.0)
    monkeypatch.setattr(versions, "signature_change", lambda ours, theirs: None)


def run(check: Callable[[VersionSwitch], Coroutine[Any, Any, None]], trial_s: float = 100.0) -> None:
    async def body() -> None:
        spec = EndpointSpec(
            serving=served("1"), endpoint="M", url="", socket_fd=3, workers=1, scratch="/x", trial_s=trial_s
        )
        switch = VersionSwitch(spec)
        await switch.start()
        try:
            await check(switch)
        finally:
            await switch.stop()

    asyncio.run(body())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def answered(switch: VersionSwitch, version: str, failure: str | None = None) -> None:
    switch.pool.on_message({"trial_request": {"version": version, "failure": failure}})


def test_a_new_version_is_tried_before_it_gets_the_address() -> None:
    async def check(switch: VersionSwitch) -> None:
        old = switch.pool
        switch.request(served("2"))
        await until(lambda: switch.serving.version == "2")
        assert switch.pool is old
        assert old.sent["trial"] == {"socket": "socket", "version": "2"}
        await asyncio.sleep(0.05)
        assert switch.pool is old  # too few requests so far
        for _ in range(versions.TRIAL_REQUESTS):
            answered(switch, "2")
        await until(lambda: switch.pool is not old)
        assert old.is_stopped
        assert switch.pool.has_address
        assert [version.version for version in switch.versions] == ["2", "1"]

    run(check, trial_s=0.02)


def test_a_version_that_ends_its_workers_is_refused() -> None:
    async def check(switch: VersionSwitch) -> None:
        switch.request(served("2"))
        await until(lambda: switch.serving.version == "2")
        trial = switch.pools[1]
        trial.on_death("worker 7 ended (signal 9)")
        assert switch.serving.version == "2"  # somebody may have killed it
        trial.on_death("worker 8 ended (exit code 9)")
        assert switch.serving.version == "1"
        assert switch.pool.sent["trial"] is None
        assert switch.refused is not None
        assert (switch.refused.version, switch.refused.reason) == ("2", "its worker 8 ended (exit code 9)")
        assert switch.pool.sent["refused"]["version"] == "2"
        assert trial.is_stopped

    run(check)


def test_a_version_that_fails_good_requests_is_refused() -> None:
    async def check(switch: VersionSwitch) -> None:
        switch.request(served("2"))
        await until(lambda: switch.serving.version == "2")
        answered(switch, "1", "it answered 500")  # of an earlier trial
        for _ in range(versions.TRIAL_FAILURES):
            assert switch.serving.version == "2"
            answered(switch, "2", "it answered 500")
        assert switch.serving.version == "1"
        assert switch.refused is not None
        assert "it answered 500" in switch.refused.reason

    run(check)


def test_a_version_that_cannot_be_loaded_is_refused_and_the_next_is_served() -> None:
    async def check(switch: VersionSwitch) -> None:
        switch.request(served("2", "leave"))
        await until(lambda: switch.refused)
        assert switch.serving.version == "1"
        switch.request(served("3", "hang"))
        switch.request(served("4"))
        await until(lambda: switch.serving.version == "4")
        assert switch.refused is None

    run(check)


def test_another_signature_is_refused_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "signature_change", lambda ours, theirs: "it takes the columns text")

    async def check(switch: VersionSwitch) -> None:
        switch.request(served("2"))
        await until(lambda: switch.refused)
        assert switch.serving.version == "1"
        assert switch.refused is not None
        assert "it takes the columns text" in switch.refused.reason
        object.__setattr__(switch._spec, "allow_signature_change", True)
        switch.request(served("2"))
        await until(lambda: switch.serving.version == "2")

    run(check)


def test_a_rollback_during_a_trial_is_immediate() -> None:
    async def check(switch: VersionSwitch) -> None:
        old = switch.pool
        switch.request(served("2"))
        await until(lambda: switch.serving.version == "2")
        switch.request(served("1"))
        await until(lambda: switch.serving.version == "1")
        assert switch.pool is old
        assert not old.is_stopped

    run(check)


def test_a_version_whose_workers_end_later_gives_way_to_the_one_before() -> None:
    async def check(switch: VersionSwitch) -> None:
        switch.request(served("2"))
        await until(lambda: switch.serving.version == "2")
        for _ in range(versions.TRIAL_REQUESTS):
            answered(switch, "2")
        await until(lambda: switch.pool.serving.version == "2")
        for _ in range(versions.REVERT_DEATHS):
            switch.pool.on_death("worker 9 ended (signal 11)")
        await until(lambda: switch.pool.serving.version == "1")
        assert switch.serving.version == "1"
        assert switch.refused is not None
        assert "signal 11" in switch.refused.reason

    run(check, trial_s=0.01)


def test_the_only_version_is_never_given_up() -> None:
    async def check(switch: VersionSwitch) -> None:
        for _ in range(10):
            switch.pool.on_death("worker 9 ended (signal 9)")
        await asyncio.sleep(0.01)
        assert not switch.pool.is_stopped

    run(check)
