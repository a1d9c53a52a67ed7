"""mlctl webhooks, with a real server; what the receiver of an example answers is made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlctl.adapters.tracking.server_webhooks import ServerWebhooks
from mlctl.domain.webhooks import EVENTS
from tests.tracking_store import Answer

URL = "https://93.184.216.34/hook"  # an address that the server need not look up


@pytest.fixture
def run(server: str, mlctl: Callable[..., Answer]) -> Callable[..., Any]:
    def call(*arguments: object, code: int = 0) -> Any:
        answer = mlctl("webhooks", *arguments, "-o", "json", "--tracking-uri", server)
        assert answer.code == code, answer.err
        return json.loads(answer.out if answer.out else answer.err.splitlines()[-1])

    return call


def test_webhooks_of_a_server(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.entities.webhook import WebhookEvent

    assert run("list") == []
    (tmp_path / "key").write_text("word\n")
    added = run("add", "ci", URL, "--secret-file", tmp_path / "key")
    assert added["events"] == list(EVENTS)
    assert all(str(WebhookEvent.from_str(event)) == event for event in EVENTS)
    one = run("add", "chat", URL, "--event", "model_version_alias.created")
    assert one["events"] == ["model_version_alias.created"]
    assert {hook["name"] for hook in run("list")} == {"ci", "chat"}
    assert "word" not in json.dumps(run("list"))
    assert "already" in run("add", "ci", URL, code=4)["error"]["message"]
    assert "scheme" in run("add", "x", "ftp://93.184.216.34", code=8)["error"]["message"]
    wrong = run("add", "x", URL, "--event", "model_version_alias.craeted", code=2)["error"]
    assert wrong["hint"] == "did you mean model_version_alias.created?"
    assert run("delete", "chatt", "--yes", code=3)["error"]["hint"] == "did you mean chat?"
    assert run("delete", one["webhook_id"], "--yes")["change"] == "deleted"

    monkeypatch.setattr(ServerWebhooks, "test", lambda *_: (False, 500, ""))
    told = run("test", "ci", code=6)
    assert (told["delivered"], told["status"], told["event"]) == (False, 500, "registered_model.created")
    monkeypatch.setattr(ServerWebhooks, "test", lambda *_: (True, 200, ""))
    assert run("test", "ci")["delivered"]
    run("delete", "ci", "--yes")


def test_a_database_sends_no_webhooks(store: str, mlctl: Callable[..., Answer]) -> None:
    answer = mlctl("webhooks", "list")
    assert answer.code == 2
    assert "only a server sends webhooks" in answer.err
