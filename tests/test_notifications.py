"""[notify] of mlctl.toml: its settings, what is sent, how it is signed, and how a failure is repeated."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlctl import settings as configuration
from mlctl.domain.drift import DriftReport, FeatureDrift
from mlctl.domain.registry import GateCheck, Promotion
from mlctl.domain.run import Run
from mlctl.errors import ConfigurationError, UnreachableError
from mlctl.notifications import EVENTS, SECRET_VARIABLE, NotifyTarget, notify
from mlctl.notifications.sender import deliver, signature
from mlctl.services.project.notify import try_receivers
from mlctl.services.registry import promote
from mlctl.services.runs.tell import tell_about_run
from mlctl.serving.traffic import drift_watch
from mlctl.tracking_server.server_config import ServerConfig

URL = 'url = "https://hooks.example.com/services/T0/secret-key"'


class Receiver(HTTPServer):
    """An HTTP server that keeps what it gets, and answers with `statuses`, then with 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses: list[int] = []
        self.got: list[tuple[Mapping[str, str], str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.got.append((dict(self.headers.items()), body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def load(tmp_path: Path, text: str) -> configuration.Settings:
    (tmp_path / "mlctl.toml").write_text(text, encoding="utf-8")
    return configuration.load({"state_dir": tmp_path / "state"}, folder=tmp_path)


def order(**changes: Any) -> dict[str, Any]:
    body = json.dumps({"event": "promotion", "text": "é"}, ensure_ascii=False)
    return {"url": "", "command": [], "secret": "", "log": "", "body": body, **changes}


def test_the_settings_say_who_is_told(tmp_path: Path) -> None:
    target = load(tmp_path, f'[notify]\n{URL}\ncommand = ["tell", "--loud"]\nevents = ["promotion"]').notify
    assert target is not None
    assert (target.command, target.events) == (("tell", "--loud"), ("promotion",))
    assert target.log == str(tmp_path / "state" / "notify.log")


def test_without_events_all_are_told(tmp_path: Path) -> None:
    target = load(tmp_path, f"[notify]\n{URL}").notify
    assert target is not None
    assert tuple(target.events) == EVENTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("notify = 3", "notify must be a table"),
        ("[notify]", "notify names nobody"),
        ('[notify]\nurl = "file:///etc/passwd"', "must be an http or https address"),
        ('[notify]\nurl = "https://anna:word@host/"', "without a password"),
        ('[notify]\ncommand = "tell"', "must be a list of strings"),
        (f'[notify]\n{URL}\nsecret = "s"', "unknown setting 'notify.secret'"),
        (f'[notify]\n{URL}\nevents = ["promotoin"]', "unknown event 'promotoin'"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(tmp_path, text)


def test_secrets_are_masked_wherever_settings_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "word-1")
    settings = load(tmp_path, f'[notify]\n{URL}\ncommand = ["tell", "--key=word-2"]')
    listed = {name: value for name, value, _ in settings.listing()}
    assert listed["notify.url"] == "https://hooks.example.com/***"
    assert listed["notify.command"] == "tell ***"
    assert listed["notify.secret"] == "***"
    config = ServerConfig(
        name="main",
        instance="",
        host="",
        port=1,
        backend_uri="",
        artifact_root="",
        artifacts_destination=None,
        notify=settings.notify.to_json() if settings.notify else None,
    )
    assert "word-1" in config.to_json().decode()
    assert "word-1" not in repr(config) + repr(NotifyTarget.from_json(config.notify))


def test_notify_of_one_run(tmp_path: Path) -> None:
    settings = load(tmp_path, f'[notify]\n{URL}\nevents = ["promotion"]')
    told, silent = settings.with_notify(True).notify, settings.with_notify(False).notify
    assert told is not None
    assert set(told.events) == {"promotion", "run_finished", "run_failed"}
    assert silent is not None
    assert set(silent.events) == {"promotion"}
    nobody = load(tmp_path, "")
    assert nobody.with_notify(False) is nobody
    with pytest.raises(ConfigurationError, match="nobody to tell"):
        nobody.with_notify(True)
    missing = load(tmp_path, f'[notify]\n{URL}\nsecret_file = "nowhere"')
    with pytest.raises(ConfigurationError, match=r"secret_file cannot be read"):
        missing.with_notify(True)


def test_a_post_is_signed_as_those_of_mlflow(receiver: Receiver) -> None:
    assert deliver(order(url=receiver.url, secret="word"), [0.0]) == []
    headers, body = receiver.got[0]
    assert json.loads(body) == {"event": "promotion", "text": "é"}
    assert headers["X-Mlctl-Event"] == "promotion"
    expected = signature("word", headers["X-Mlctl-Delivery-Id"], headers["X-Mlctl-Timestamp"], body)
    assert headers["X-Mlctl-Signature"] == expected
    from mlflow.webhooks.delivery import _generate_hmac_signature

    assert expected == _generate_hmac_signature(
        "word", headers["X-Mlctl-Delivery-Id"], headers["X-Mlctl-Timestamp"], body
    )


def test_without_a_secret_there_is_no_signature(receiver: Receiver) -> None:
    assert deliver(order(url=receiver.url), [0.0]) == []
    assert "X-Mlctl-Signature" not in receiver.got[0][0]


@pytest.mark.parametrize(
    ("statuses", "attempts", "failure"),
    [
        ([503, 429], 3, None),
        ([500, 500, 500], 3, "status 500, after 3 attempts"),
        ([404], 1, "status 404"),
        ([302, 302, 302], 1, "status 302"),
    ],
)
def test_what_is_repeated(
    receiver: Receiver, statuses: list[int], attempts: int, failure: str | None
) -> None:
    receiver.statuses = list(statuses)
    failures = deliver(order(url=receiver.url), [0.0, 0.0, 0.0])
    assert len(receiver.got) == attempts
    assert len({headers["X-Mlctl-Delivery-Id"] for headers, _ in receiver.got}) == 1
    assert [failure is not None and failure in line for line in failures] == [True] * (failure is not None)
    assert "/hook" not in "".join(failures)


def test_an_address_that_nobody_listens_at() -> None:
    [failure] = deliver(order(url="http://127.0.0.1:9/key"), [0.0, 0.0])
    assert failure.startswith("promotion: http://127.0.0.1/***: ")
    assert failure.endswith("after 2 attempts")


def test_a_command_gets_the_message(tmp_path: Path) -> None:
    code = "import os, sys; open(sys.argv[1], 'a').write(os.environ['MLCTL_EVENT'] + sys.stdin.read())"
    file = tmp_path / "got"
    assert deliver(order(command=[sys.executable, "-S", "-c", code, str(file)]), [0.0]) == []
    assert file.read_text(encoding="utf-8") == 'promotion{"event": "promotion", "text": "é"}'
    assert deliver(order(command=["no-such-program"]), [0.0]) != []


def test_a_process_of_its_own_sends(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the working directory')")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_text("word\n")
    target = NotifyTarget(url=receiver.url, events=("run_lost",), secret_file="secret")
    notify(target, "promotion", "not wanted", {})
    notify(target, "run_lost", "gone", {"run_id": "1"})
    deadline = time.monotonic() + 20
    while not receiver.got and time.monotonic() < deadline:
        time.sleep(0.01)
    [(headers, body)] = receiver.got
    message = json.loads(body)
    assert {key: message[key] for key in ("event", "text", "run_id")} == {
        "event": "run_lost",
        "text": "gone",
        "run_id": "1",
    }
    assert headers["X-Mlctl-Signature"] == signature(
        "word", headers["X-Mlctl-Delivery-Id"], headers["X-Mlctl-Timestamp"], body
    )


def test_a_value_that_json_lacks_is_null(told: list[dict[str, Any]]) -> None:
    metrics = {"loss": float("nan"), "bound": float("inf"), "f1": 0.5}
    notify(NotifyTarget(url="http://x"), "run_finished", "", {"metrics": metrics})
    assert told[0]["metrics"] == {"loss": None, "bound": None, "f1": 0.5}


def test_a_missing_secret_file_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlctl.notes")
    logging.getLogger("mlctl.notes").propagate = True
    notify(NotifyTarget(url="http://x", secret_file="nowhere"), "run_lost", "", {})
    assert "nobody was told about run_lost" in caplog.text


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect the messages instead of sending them."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "mlctl.notifications._send",
        lambda sent, _hidden: messages.append(json.loads(json.loads(sent)["body"])),
    )
    return messages


def test_what_is_told_about_a_run(told: list[dict[str, Any]]) -> None:
    run = Run(
        run_id="1f",
        run_name="calm-owl",
        experiment="digits",
        status="FINISHED",
        tracking_uri="postgresql://anna:word@db/x",
        metrics={"best_val_accuracy": 0.98765, "loss": 1.0},
    )
    target = NotifyTarget(url="http://x")
    tell_about_run(target, "run_finished", run)
    tell_about_run(target, "search_finished", run)
    tell_about_run(target, "run_failed", run, "ValueError: no rows")
    assert [message["text"] for message in told] == [
        "run calm-owl of digits has finished: best_val_accuracy 0.9877",
        "run calm-owl of digits has finished its search: best_val_accuracy 0.9877",
        "run calm-owl of digits has finished: ValueError: no rows",
    ]
    assert told[0]["tracking_uri"] == "postgresql://anna:***@db/x"


def test_what_is_told_about_promotions(tmp_path: Path, told: list[dict[str, Any]]) -> None:
    settings = load(tmp_path, f"[notify]\n{URL}")
    moved = Promotion(name="Digits", version="2", stage="Production", replaced="1", changed=True, checks=())
    failed = GateCheck(check="smoke", wanted="loads", found="no", holds=False)
    refused = Promotion(
        name="Digits", version="3", stage="Production", replaced="2", changed=False, checks=(failed,)
    )
    unchanged = Promotion(
        name="Digits", version="2", stage="Production", replaced="2", changed=False, checks=()
    )
    rolled_back = Promotion(
        name="Digits",
        version="1",
        stage="Production",
        replaced="2",
        changed=True,
        checks=(),
        action="rollback",
    )
    for answer in (moved, refused, unchanged, rolled_back):
        promote._tell(settings, answer, "it is better")
    assert [message["event"] for message in told] == ["promotion", "gate_refused", "rollback"]
    assert told[0]["text"].startswith("Digits version 2 was moved to Production, in place of 1 by ")
    assert "smoke loads, found no" in told[1]["text"]


def test_drift_is_told_once(tmp_path: Path, told: list[dict[str, Any]], monkeypatch: Any) -> None:
    (tmp_path / "log").mkdir()

    def report(*drifted: str) -> DriftReport:
        features = [
            FeatureDrift(
                name=name,
                of="input",
                has_drifted=name in drifted,
                p_value=0.0,
                psi=1.0,
                moved=1.0,
                shift=None,
                rows=100,
                words="median 41, was 34",
            )
            for name in ("age", "fare")
        ]
        return DriftReport(
            endpoint="e", model="M", version="1", since="", requests=1, rows=100, features=features
        )

    watch = drift_watch.DriftWatch(
        tmp_path / "log", endpoint="e", model="M", notify=NotifyTarget(url="http://x")
    )
    for number, drifted in enumerate([(), ("age",), ("age",), ("age", "fare"), ()]):
        monkeypatch.setattr(drift_watch, "log_files", lambda _, name=number: [name])
        monkeypatch.setattr(drift_watch, "make_report", lambda *_, now=drifted, **__: report(*now))
        watch._update()
    watch.close()
    assert [message["text"] for message in told] == [
        "1 of 2 features of M version 1 drifted at the endpoint e: age: median 41, was 34",
        "2 of 2 features of M version 1 drifted at the endpoint e: age: median 41, was 34; "
        "fare: median 41, was 34",
    ]


def test_a_server_tells_that_it_is_down(told: list[dict[str, Any]]) -> None:
    config = ServerConfig(
        name="main",
        instance="",
        host="",
        port=5000,
        backend_uri="",
        artifact_root="",
        artifacts_destination=None,
        notify=NotifyTarget(url="http://x").to_json(),
    )
    ServerConfig.from_json(config.to_json()).tell_down("it ended with SIGKILL")
    assert told[0]["text"] == "the tracking server main on port 5000 is down: it ended with SIGKILL"


def test_an_example_is_sent_and_waited_for(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "a key")
    settings = load(tmp_path, f'[notify]\nurl = "{receiver.url}"\nevents = ["promotion"]')
    answer = try_receivers(settings)
    assert answer.is_signed
    assert answer.receivers == (f"http://127.0.0.1:{receiver.server_port}/***",)
    headers, body = receiver.got[0]
    assert (headers["X-Mlctl-Event"], json.loads(body)["event"]) == ("test", "test")
    receiver.statuses = [500]
    with pytest.raises(UnreachableError, match=r"not delivered: .*/\*\*\*: status 500"):
        try_receivers(settings)
    with pytest.raises(ConfigurationError, match="name nobody to tell"):
        try_receivers(load(tmp_path, ""))
