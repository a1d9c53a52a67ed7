"""Parts of rollouts and shadows: agreement, shared counts, routes, and their entries in the registry's history."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlctl.adapters.system.daemon import current_process
from mlctl.domain.registry import GateCheck, HistoryEntry
from mlctl.domain.version_counts import VersionCounts
from mlctl.errors import NotFoundError, RefusedError
from mlctl.services.models.rollout_records import merge, read_rollouts, write_rollout
from mlctl.services.serving import endpoint_control
from mlctl.services.serving.endpoints import endpoint_states
from mlctl.services.workflows import rollout_registry
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.rollout.agreement import disagreement
from mlctl.serving.rollout.comparison import pack, unpack
from mlctl.serving.rollout.routes import Routes, RoutesReader, VersionRoute, write_routes
from mlctl.serving.rollout.version_metrics import VersionCollector
from mlctl.serving.rollout.version_stats import (
    CANDIDATE,
    SERVING,
    VersionStats,
    merge_ended,
    read_counts,
)
from mlctl.settings import load

pytestmark = pytest.mark.unit


def answer(predictions: object) -> bytes:
    return json.dumps({"predictions": predictions}).encode()


@pytest.mark.parametrize(
    ("ours", "theirs", "kind", "expected"),
    [
        ([[0.1, 0.9], [0.8, 0.2]], [[0.4, 0.6], [0.9, 0.1]], "classes", 0.0),
        ([[0.1, 0.9], [0.8, 0.2]], [[0.6, 0.4], [0.9, 0.1]], "classes", 0.5),
        ([[0.1], [0.8]], [[0.4], [0.3]], "classes", 0.5),
        ([[0.1, 0.9, 0.2, 0.6]], [[0.1, 0.9, 0.2, 0.3]], "labels", 0.25),
        ([[[[0.9, 0.1], [0.9, 0.1]]]], [[[[0.8, 0.2], [0.2, 0.8]]]], "pixels", 0.5),
        ([100.0, 200.0], [101.0, 300.0], "values", 0.5),
        ([100, 101], [101, 101], "", 0.5),
        ([[0.0]], [[0.0]], "values", 0.0),
        ([1.0], [1.0, 2.0], "values", 1.0),
        ([], [], "values", 0.0),
        ([[]], [[]], "values", 0.0),
        (["cat", "dog"], ["cat", "cow"], "", 0.5),
        ([{"x": 1.0, "y": "a"}], [{"x": 1.01, "y": "a"}], "", 0.0),
        ([[1.0, 2.0]], [[1.0, 2.0, 3.0]], "values", 1.0),
        ([[1.0], [1.0, 2.0]], [[1.0], [1.0, 5.0]], "values", 0.5),
        ([None, True], [None, False], "", 0.5),
    ],
)
def test_the_share_of_rows_that_differ(ours: object, theirs: object, kind: str, expected: float) -> None:
    found = disagreement(answer(ours), answer(theirs), kinds={"": kind})
    assert found == pytest.approx(expected)


def test_named_outputs_differ_as_much_as_the_one_that_differs_most() -> None:
    ours, theirs = {"a": [1.0, 2.0], "b": [0.9, 0.1]}, {"a": [1.0, 9.0], "b": [0.7, 0.3]}
    assert disagreement(answer(ours), answer(theirs), kinds={"a": "values", "b": "classes"}) == 0.5
    assert disagreement(answer(ours), answer({"c": [1.0]}), kinds={}) == 1.0


def test_a_copy_holds_the_answer_and_the_request() -> None:
    assert unpack(pack(b"answer", b"request")) == (b"answer", b"request")


def test_counts_of_all_processes_add_up(tmp_path: Path) -> None:
    stats = VersionStats(tmp_path, SERVING, "3")
    with stats.measured():
        assert read_counts(tmp_path)[SERVING, "3"].in_flight == 1
    with pytest.raises(RequestError), stats.measured():
        raise RequestError(400, "BAD", "no")
    with pytest.raises(ZeroDivisionError), stats.measured():
        _ = 1 / 0
    VersionStats(tmp_path, CANDIDATE, "a/b").count_comparison(0.25)
    merge_ended(tmp_path, os.getpid())
    merged = read_counts(tmp_path)
    counts = merged[SERVING, "3"]
    assert (counts.answered, counts.refused, counts.errors, counts.in_flight) == (1, 1, 1, 0)
    assert sum(counts.histogram) == 2
    assert merged[CANDIDATE, "a/b"].agreement == 0.75
    families = {family.name: family for family in VersionCollector(tmp_path).collect()}
    assert {sample.labels["outcome"] for sample in families["mlctl_version_requests"].samples} == {
        "answered",
        "refused",
        "errors",
    }
    assert families["mlctl_version_agreement"].samples[0].value == 0.75


def test_a_full_disk_loses_no_request(tmp_path: Path) -> None:
    (tmp_path / "versions").write_text("no folder")
    stats = VersionStats(tmp_path, SERVING, "3")
    stats.record(200, 0.01)
    assert stats.counts() == VersionCounts(answered=1, seconds=0.01, histogram=stats.counts().histogram)


def test_workers_read_changed_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlctl.serving.rollout.routes.READ_INTERVAL_S", 0)
    reader = RoutesReader(tmp_path)
    assert reader.read() == Routes()
    route = VersionRoute(name="M", version="4", socket="s", share=0.05, sticky="x-user")
    write_routes(tmp_path, Routes(candidate=route))
    assert reader.read().candidate == route
    write_routes(tmp_path, Routes())
    assert reader.read() == Routes()


def test_a_rollout_is_an_entry_of_the_history() -> None:
    tags: dict[str, str] = {}

    class Registry:
        def set_model_tag(self, name: str, key: str, value: str) -> None:
            tags[key] = value

    at = datetime(2026, 1, 1, tzinfo=UTC)
    entry = HistoryEntry(
        at=at,
        by="ann",
        action="rollout",
        stage="",
        version="4",
        replaced=None,
        reason="p95 is too high",
        checks=(GateCheck(check="p95", wanted="<=1.2x", found=0.3, holds=False),),
    )
    for _ in range(2):
        write_rollout(Registry(), "M", "ab", entry)  # type: ignore[arg-type]
    tags["mlctl.rollout.broken"] = "{"
    assert read_rollouts(tags) == (entry,)
    move = HistoryEntry(
        at=at + timedelta(days=1),
        by="bob",
        action="promote",
        stage="Production",
        version="5",
        replaced="3",
        reason="",
    )
    assert merge([move], read_rollouts(tags)) == (entry, move)


def test_the_registry_gets_the_reason_and_the_breached_guard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written: list[tuple[str, str, HistoryEntry]] = []
    monkeypatch.setattr(
        rollout_registry,
        "write_rollout",
        lambda registry, name, rollout_id, entry: written.append((name, rollout_id, entry)),
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store.db")
    rollout = {
        "id": "ab",
        "status": "returned",
        "model": "M",
        "version": "4",
        "old_version": "3",
        "last_share": 0.05,
        "ended": 1_700_000_000.0,
        "reason": "p95<=1.2x does not hold",
        "breach": {"check": "p95", "wanted": "<=1.2x", "found": 0.5},
        "plan": {"guards": ["error_rate<=1%", "p95<=1.2x"]},
    }
    assert rollout_registry.answer({"action": "record", "endpoint": "E", "rollout": rollout}) == {"ok": True}
    ((name, rollout_id, entry),) = written
    assert (name, rollout_id, entry.version, entry.replaced) == ("M", "ab", "4", None)
    assert entry.reason == (
        "endpoint E: returned at 5% of the requests, version 3 serves: p95<=1.2x does not hold"
    )
    assert [(check.check, check.found, check.holds) for check in entry.checks] == [
        ("error_rate", None, True),
        ("p95", 0.5, False),
    ]


def test_an_endpoint_of_an_earlier_version_is_shown_without_details(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLCTL_STATE_DIR", str(tmp_path))
    settings = load()
    fields = {
        "name": "old",
        "url": "http://127.0.0.1:9",
        "log": "",
        "model_uri": "",
        "model": "M",
        "version": "3",
    }
    endpoint_states(settings).write("old", {**fields, **current_process().to_state()})
    shown = endpoint_control.show_endpoint(settings, "old")
    assert "earlier version of mlctl" in shown.note
    assert shown.workers == ()
    with pytest.raises(RefusedError):
        endpoint_control.send_order(settings, "old", {"order": "abort"})
    with pytest.raises(NotFoundError):
        endpoint_control.show_endpoint(settings, "new")
