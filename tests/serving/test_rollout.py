"""Rollouts and shadows on real endpoints: every request gets a good answer, whatever the new version does."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlctl.domain.rollout import parse_guards
from mlctl.serving.endpoint_spec import ServedVersion

from .conftest import RunningEndpoint, start_endpoint
from .rollout_versions import BEHAVIOURS, Clients, ask, make_version, post_request
from .test_lifecycle import wait_until

pytestmark = pytest.mark.live

REQUEST = post_request(json.dumps({"inputs": [[[7 * (i + j) for j in range(8)] for i in range(8)]]}).encode())
RECORDER = "import json, sys; open({file!r}, 'a').write(sys.stdin.readline()); print(json.dumps({answer}))"


class Rollouts:
    """An endpoint on which versions are rolled out without the command."""

    def __init__(self, endpoint: RunningEndpoint, folder: Path) -> None:
        self.endpoint = endpoint
        self.folder = folder
        self.expected = ask(endpoint.port, REQUEST)
        self.recorded = folder / "recorded"

    def order(self, order: str, **content: Any) -> dict[str, Any]:
        control = json.loads((self.folder / "state.json").read_text())["control"]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(control)
            connection.sendall(json.dumps({"order": order, **content}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                answer: dict[str, Any] = json.loads(stream.readline())
        return answer

    def start(self, behaviour: str, *guards: str, every: str = "1s", answer: str = "{'ok': True}") -> None:
        number = str(2 + list(BEHAVIOURS).index(behaviour))
        code = RECORDER.format(file=str(self.recorded), answer=answer)
        plan = {
            "steps": "20%,100%",
            "every": every,
            "guards": [guard.text for guard in parse_guards(guards)],
            "sticky": "",
            "promote": False,
            "tracking_uri": "sqlite:///no.db",
            "registry_command": [sys.executable, "-c", code],
        }
        serving = ServedVersion(name="pictures", version=number, uri="", folder=str(self.folder / behaviour))
        started = self.order("rollout", serving=vars(serving), plan=plan)
        assert "error" not in started, started

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = self.order("show")["rollout"]
        return state

    def wait_for_end(self) -> dict[str, Any]:
        wait_until(lambda: self.state["ended"] is not None, 60)
        return self.state

    def roll_out(self, behaviour: str, *guards: str) -> tuple[dict[str, Any], Clients]:
        """Roll a version out under load, and return how it ended and what the clients got."""
        load = Clients(self.endpoint.port, REQUEST, self.expected)
        load.start(10**6, 3, pause_s=0.002)
        try:
            self.start(behaviour, *guards)
            return self.wait_for_end(), load
        finally:
            load.stop()


def start(model: Path, folder: Path) -> RunningEndpoint:
    """Start an endpoint whose shadow answers differently."""
    shadow = ServedVersion(name="pictures", version="3", uri="", folder=str(folder / "wrong"))
    return start_endpoint(model, folder, state_file=str(folder / "state.json"), shadow=shadow)


@pytest.fixture(scope="module")
def rollouts(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollouts]:
    folder = tmp_path_factory.mktemp("rollouts")
    for behaviour in BEHAVIOURS:
        make_version(models["pictures"], folder / behaviour, behaviour)
    running = Rollouts(start(models["pictures"], folder), folder)
    yield running
    running.endpoint.stop()


def test_a_crashing_version_harms_no_request(rollouts: Rollouts) -> None:
    state, load = rollouts.roll_out("crashes")
    assert state["status"] == "returned"
    assert "exit code 9" in state["reason"]
    assert (load.failures, load.count("wrong")) == (0, 0)


def test_a_version_that_answers_differently_is_withdrawn(rollouts: Rollouts) -> None:
    state, load = rollouts.roll_out("wrong", "agreement>=90%")
    assert (state["status"], state["breach"]["check"]) == ("returned", "agreement")
    assert load.failures == 0
    assert load.count("wrong") <= sum(load.answers.values()) / 2  # the first step has a fifth of the requests
    wait_until(lambda: rollouts.state["recorded"], 20)
    recorded = json.loads(rollouts.recorded.read_text().splitlines()[-1])
    assert recorded["action"] == "record"
    assert recorded["rollout"]["reason"] == state["reason"]
    after = Clients(rollouts.endpoint.port, REQUEST, rollouts.expected)
    after.start(50)
    after.wait()
    assert set(after.answers) == {("1", "good")}


def test_an_aborted_rollout_returns(rollouts: Rollouts) -> None:
    assert "error" in rollouts.order("abort", reason="nothing runs")
    rollouts.start("healthy", every="10m")
    wait_until(lambda: rollouts.state["status"] == "running", 60)
    assert (
        "already"
        in rollouts.order(
            "rollout",
            serving=vars(ServedVersion(name="p", version="9", uri="", folder="")),
            plan=rollouts.state["plan"],
        )["error"]
    )
    state = rollouts.order("abort", reason="enough")["rollout"]
    assert (state["status"], state["reason"]) == ("aborted", "enough")


def test_a_healthy_version_takes_over(rollouts: Rollouts) -> None:
    state, load = rollouts.roll_out("healthy", "agreement>=90%")
    assert state["status"] == "done", state
    assert (load.failures, load.count("wrong")) == (0, 0)
    assert {version for version, _ in load.answers} == {"1", "2"}
    shown = rollouts.order("show")
    roles = {(one["role"], one["version"]) for one in shown["versions"]}
    assert {("serving", "1"), ("candidate", "2"), ("serving", "2")} <= roles
    assert [worker["version"] for worker in shown["workers"] if worker["role"] == "serving"] == ["2"]
    assert rollouts.endpoint.request("/compare", b"x").status == 404
    metrics = rollouts.endpoint.request("/metrics").body.decode()
    assert 'mlctl_version_requests_total{outcome="answered",role="candidate",version="2"}' in metrics


def test_a_shadow_is_compared_and_answers_nobody(rollouts: Rollouts) -> None:
    load = Clients(rollouts.endpoint.port, REQUEST, rollouts.expected)

    def shadow() -> dict[str, Any]:
        load.start(20, 1)
        load.wait()
        found = [one for one in rollouts.order("show")["versions"] if one["role"] == "shadow"]
        return found[0] if found else {"compared": 0}

    wait_until(lambda: shadow()["compared"] >= 5, 60)
    assert (shadow()["version"], shadow()["agreement"]) == ("3", 0)
    assert {kind for _, kind in load.answers} == {"good"}


def test_a_killed_endpoint_serves_the_old_version(models: dict[str, Path], rollouts: Rollouts) -> None:
    rollouts.start("slow", every="10m", answer="{'error': 'the registry is away', 'retry': True}")
    wait_until(lambda: rollouts.state["status"] == "running", 60)
    rollouts.endpoint.process.send_signal(signal.SIGKILL)
    rollouts.endpoint.process.wait()
    rollouts.endpoint = start(models["pictures"], rollouts.folder)
    state = rollouts.state
    assert (state["status"], state["recorded"]) == ("returned", False)
    assert "ended during the rollout" in state["reason"]
    load = Clients(rollouts.endpoint.port, REQUEST, rollouts.expected)
    load.start(20, 1)
    load.wait()
    assert set(load.answers) == {("1", "good")}
