"""The request log, feedback about its requests, and the drift report of an endpoint."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.serving.invocations import Answered, Exchange
from mlctl.serving.payloads.request_error import RequestError
from mlctl.serving.traffic import feedback, request_log
from mlctl.serving.traffic.log_reader import Traffic, read_traffic
from mlctl.serving.traffic.request_log import RequestLog, log_files

from .conftest import StartEndpoint


def exchange(number: int, inputs: Any, answers: Any, *, rows: int = 1, version: str = "1") -> Exchange:
    answered = Answered(
        body=b'{"predictions": [1]}', rows=rows, inputs=inputs, answers=answers, seconds=0.002
    )
    return Exchange(
        request_id=f"r-{number}",
        body=b'{"inputs": [1]}',
        content_type="application/json",
        version=version,
        answered=answered,
    )


def write(folder: Path, exchanges: list[Exchange], **options: Any) -> RequestLog:
    log = RequestLog(folder, options.pop("share", 1.0), **options)
    for entry in exchanges:
        log.observe(entry)
    log.close()
    return log


def read(folder: Path, **options: Any) -> Traffic:
    found = read_traffic(folder, 0, **options)
    assert found is not None
    return found


TABLE = {
    "age": np.array([31.5, np.nan]),
    "city": np.array(["Oslo", None], dtype=object),
    "member": np.array([True, None], dtype=object),
    "count": np.array([2**60, 3]),
}
RAGGED = np.empty(2, object)
RAGGED[:] = [np.arange(3), np.arange(5)]


@pytest.mark.unit
@pytest.mark.parametrize(
    ("inputs", "answers"),
    [
        (TABLE, np.array([[0.1], [0.9]], np.float32)),
        (np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3), np.eye(2)),
        ({"left": np.ones((2, 3), np.float32), "right": np.arange(2)}, {"a": np.eye(2), "b": np.arange(2.0)}),
        (RAGGED, np.arange(2.0)),
        (np.array(["a text", "another"]), np.arange(2.0)),
    ],
)
def test_what_is_logged_is_read_back(tmp_path: Path, inputs: Any, answers: Any) -> None:
    write(tmp_path, [exchange(number, inputs, answers, rows=2) for number in range(3)])
    found = read(tmp_path)
    assert (found.requests, found.rows, found.version) == (3, 6, "1")
    assert sorted(zip(found.request_ids, found.places, strict=True))[:3] == [
        ("r-0", 0),
        ("r-0", 1),
        ("r-1", 0),
    ]
    for given, logged in ((inputs, found.inputs), (answers, found.answers)):
        for name, part in (given if isinstance(given, dict) else {"": given}).items():
            for place, row in zip(found.places, logged[name], strict=True):
                np.testing.assert_array_equal(row, part[place])


@pytest.mark.unit
def test_redacted_columns_are_in_no_file(tmp_path: Path) -> None:
    write(tmp_path, [exchange(1, TABLE, np.zeros(2), rows=2), exchange(2, None, None)], redacted=["city"])
    content = b"".join(path.read_bytes() for path in log_files(tmp_path))
    assert b"Oslo" not in content
    assert b"input.city" not in content
    assert b"inputs" not in content  # nor the body of a request that only MLflow could read
    assert "age" in read(tmp_path).inputs or read(tmp_path).requests == 2


@pytest.mark.unit
def test_a_log_takes_a_share_and_never_more_than_its_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [exchange(number, np.zeros((1, 2)), np.zeros(1)) for number in range(2000)]
    write(tmp_path / "some", entries, share=0.1)
    assert 130 < read(tmp_path / "some").requests < 280
    monkeypatch.setattr(request_log, "MAX_WAITING", 50)
    assert write(tmp_path / "full", entries).dropped == 1950
    big = [exchange(1, np.zeros((5000, 2)), np.zeros(5000), rows=5000)]
    write(tmp_path / "big", big)
    assert read(tmp_path / "big").rows == request_log.MAX_ROWS
    write(tmp_path / "wide", [exchange(1, np.zeros((50, 100_000)), np.zeros(50), rows=50)])
    assert read(tmp_path / "wide").rows == 4


@pytest.mark.unit
def test_files_are_joined_and_the_oldest_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_log, "JOINED_FILES", 4)
    monkeypatch.setattr(request_log, "WRITE_EVERY_S", 0.01)
    log = RequestLog(tmp_path, 1.0)
    for number in range(8):
        log.observe(exchange(number, TABLE, np.zeros(2), rows=2))
        while log._waiting or len(list(tmp_path.glob("*.part"))):
            time.sleep(0.01)
    log.close()
    assert len(log_files(tmp_path)) < 8
    assert read(tmp_path).requests == 8
    part = tmp_path / ".requests-1.parquet.abcd.part"  # of a killed worker
    part.write_bytes(b"PAR1")
    os.utime(part, (0, 0))
    (tmp_path / "requests-00000000T000000-1-0.parquet").write_bytes(b"PAR1")
    assert read(tmp_path).requests == 8
    write(tmp_path, [exchange(9, TABLE, np.zeros(2), rows=2)], max_bytes=1)
    assert log_files(tmp_path) == []
    assert not part.exists()


@pytest.mark.unit
def test_the_newest_version_is_compared(tmp_path: Path) -> None:
    write(tmp_path, [exchange(number, TABLE, np.zeros(2), rows=2) for number in range(3)])
    time.sleep(0.01)
    write(tmp_path, [exchange(4, TABLE, np.zeros(2), rows=2, version="2")])
    found = read(tmp_path)
    assert (found.version, found.rows, found.other_versions) == ("2", 2, 6)
    assert read(tmp_path, max_rows=3).is_cut
    assert read_traffic(tmp_path, time.time() + 10) is None


@pytest.mark.unit
def test_feedback_is_kept_and_joined(tmp_path: Path) -> None:
    store = feedback._store
    assert store(tmp_path, b'{"request_id": "a", "truth": "cat"}') == 1
    assert (
        store(tmp_path, b'[{"request_id": "a", "truth": "dog"}, {"request_id": "b", "truth": [1, 2]}]') == 2
    )
    with next(tmp_path.glob("*.jsonl")).open("ab") as file:
        file.write(b'{"request_id": "c", "tr')  # of a killed worker
    truths = feedback.read_truths(tmp_path)
    assert truths == {"a": "dog", "b": [1, 2]}
    assert feedback.truths_of_rows(truths, ["a", "b", "b", "b", "z"], [0, 0, 1, 2, 0]) == [
        "dog",
        1,
        2,
        None,
        None,
    ]
    assert feedback.truths_of_rows({"a": {"x": 1}, "b": [{"x": 2}]}, ["a", "b"], [0, 0], "x") == [1, 2]
    for body in (b"", b"[]", b"{}", b'{"request_id": "a b", "truth": 1}', b'{"request_id": 1, "truth": 1}'):
        with pytest.raises(RequestError):
            store(tmp_path, body)


def test_an_endpoint_logs_and_its_drift_is_reported(
    models: dict[str, Path], serve: StartEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlctl.domain.outputs import Output
    from mlctl.output import views
    from mlctl.services.serving.drift import drift_report
    from mlctl.serving.traffic.profile import make_profile, write_profile
    from mlctl.settings import load

    random = np.random.default_rng(0)
    trained = {
        "rooms": random.uniform(1, 9, 500),
        "age": random.uniform(1, 50, 500),
        "place": random.choice(["INLAND", "NEAR BAY"], 500).astype(object),
    }
    model = shutil.copytree(models["table"], tmp_path / "model")
    output = Output(kind="values", unit="USD")
    write_profile(make_profile(trained, answers=random.normal(size=500), outputs=(output,)), model)
    endpoint = serve(model, log_requests=1.0, redact=("place",))
    rows = [
        {"rooms": float(4 + random.uniform(1, 9)), "age": float(random.uniform(1, 50)), "place": "INLAND"}
        for _ in range(60)
    ]
    replies = [
        endpoint.post({"dataframe_records": [row]}, x_request_id=f"id-{n}") for n, row in enumerate(rows)
    ]
    assert {reply.status for reply in replies} == {200}
    truths = [{"request_id": f"id-{number}", "truth": 1.0} for number in range(10)]
    stored = endpoint.request("/feedback", json.dumps(truths))
    assert (stored.status, stored.json) == (200, {"stored": 10})
    assert endpoint.request("/feedback", "nothing").status == 400
    assert endpoint.request("/feedback").status == 405
    endpoint.stop()  # what waits is written
    state = tmp_path / "state" / "endpoints" / "house"
    state.mkdir(parents=True)
    shutil.copytree(endpoint.log.parent / "scratch" / "requests", state / "requests")
    monkeypatch.setenv("MLCTL_STATE_DIR", str(tmp_path / "state"))
    settings = load()
    report = drift_report(settings, "house", 3600, tmp_path / "drift.html")
    assert report.features[0].name == "rooms"
    assert report.features[0].has_drifted
    assert report.notes == ["not in the log: place"]
    assert (report.rows, report.scores[0].metric, report.scores[0].rows) == (60, "mae", 10)
    page = (tmp_path / "drift.html").read_text()
    assert "<svg" in page
    assert "rooms" in page
    assert views.tables(report)[0].caption.endswith("features drifted")


def test_without_a_log_feedback_is_refused(pictures: Any) -> None:
    reply = pictures.request("/feedback", '{"request_id": "a", "truth": 1}')
    assert (reply.status, "--log-requests" in reply.body.decode()) == (404, True)
