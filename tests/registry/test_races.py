"""What another promotion moves while the gates of this one run; and the model of a run that was stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlctl import settings as configuration
from mlctl.domain.tags import STOP_TAG
from mlctl.errors import RefusedError
from mlctl.services.registry import promote, register
from mlctl.services.registry.gates import Gates
from mlctl.services.registry.promote import PromotionRequest


@pytest.fixture
def client(own_store: str) -> MlflowClient:
    """A store with three versions of Toy, of which the first is in Production."""
    client = MlflowClient(own_store, registry_uri=own_store)
    run_id = client.create_run("0").info.run_id
    client.create_registered_model("Toy")
    for _ in range(3):
        client.create_model_version("Toy", "/nowhere", run_id)
    promote.promote(_settings(own_store), "Toy", "1", "Production", PromotionRequest())
    return client


def _settings(uri: str) -> configuration.Settings:
    return configuration.load({"tracking_uri": uri})


def meanwhile(monkeypatch: pytest.MonkeyPatch, move: Callable[[], object]) -> None:
    """Let another promotion happen while the gates of the next one run."""
    moves = [move]

    def run_checks(*_: Any) -> tuple[()]:
        if moves:
            moves.pop()()
        return ()

    monkeypatch.setattr(promote, "run_checks", run_checks)


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        (
            Gates(no_regress=("val_f1",)),
            "version 2 was moved to Production meanwhile, .* compared with version 1",
        ),
        (Gates(evaluate="digits"), "compared with version 1"),
        (Gates(from_stage="Staging"), "version 3 was moved to Archived meanwhile"),
    ],
)
def test_gates_that_another_promotion_has_overtaken(
    own_store: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, gates: Gates, words: str
) -> None:
    settings = _settings(own_store)
    if gates.from_stage:
        promote.promote(settings, "Toy", "3", "Staging", PromotionRequest())
        meanwhile(monkeypatch, lambda: promote.promote(settings, "Toy", "3", "Archived", PromotionRequest()))
    else:
        meanwhile(
            monkeypatch, lambda: promote.promote(settings, "Toy", "2", "Production", PromotionRequest())
        )
    with pytest.raises(RefusedError, match=words):
        promote.promote(settings, "Toy", "3", "Production", PromotionRequest(gates=gates))
    holder = client.get_model_version_by_alias("Toy", "production").version
    assert int(holder) == (1 if gates.from_stage else 2)
    # again, nothing moves meanwhile
    if not gates.from_stage:
        assert promote.promote(settings, "Toy", "3", "Production", PromotionRequest(gates=gates)).changed


def test_without_such_gates_both_happen(
    own_store: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(own_store)
    meanwhile(monkeypatch, lambda: promote.promote(settings, "Toy", "2", "Production", PromotionRequest()))
    answer = promote.promote(
        settings, "Toy", "3", "Production", PromotionRequest(gates=Gates(require=("val_f1>0",)))
    )
    assert (answer.changed, answer.replaced) == (True, "2")


def test_the_model_of_a_run_that_was_stopped(
    own_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that somebody killed in another way still needs --force."""
    client = MlflowClient(own_store)
    monkeypatch.setattr(register, "answer_example", lambda *_: "")
    settings = _settings(own_store)
    runs = []
    for tags in ({STOP_TAG: "{}"}, {}):
        run_id = client.create_run("0", tags=tags).info.run_id
        client.log_text(run_id, "flavors: {}", "model/MLmodel")
        client.set_terminated(run_id, "KILLED")
        runs.append(f"runs:/{run_id}/model")
    assert register.register_model(settings, runs[0], "Stopped").version == "1"
    with pytest.raises(RefusedError, match="is KILLED, so its model may be incomplete"):
        register.register_model(settings, runs[1], "Stopped")
