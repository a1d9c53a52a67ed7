"""How far a long epoch is: noted by the training, sent with the heartbeat, shown by `runs watch`."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from mlctl.adapters.runlog.run_sender import RunSender
from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch, NullProgress
from mlctl.domain.run import Run
from mlctl.domain.run_queries import RunSnapshot
from mlctl.domain.tags import RUNNING_EPOCH_TAG
from mlctl.output.run_watch import _panel
from mlctl.services.training import running_epoch
from mlctl.services.training.running_epoch import RunningEpochListener

pytestmark = pytest.mark.unit

ACCURACY = Objective("val_accuracy", maximize=True)


def test_only_a_long_epoch_is_noted_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now, notes, asked = [0.0], [], []
    monkeypatch.setattr(running_epoch, "time", SimpleNamespace(monotonic=lambda: now[0]))
    recorder = cast("Any", SimpleNamespace(note_running_epoch=notes.append))
    listener = RunningEpochListener(NullProgress(), recorder)
    listener.training_started("digits", 3, 4000, ACCURACY)

    def loss() -> float:
        asked.append(now[0])
        return 0.43219 if now[0] < 13 else math.nan

    for now[0] in (1.0, 11.0, 12.0, 17.0):
        listener.step(1, int(100 * now[0]), 4000, loss)
    listener.epoch_ended(1, {}, Epoch(1, {}, 20.0), 20.0)
    now[0] = 22.0
    listener.step(2, 100, 4000, loss)
    listener.epoch_ended(2, {}, Epoch(1, {}, 20.0), 5.0)
    assert notes == ["epoch 1/3, batch 1,100/4,000, loss 0.4322", "epoch 1/3, batch 1,700/4,000", ""]
    assert asked == [11.0, 17.0]  # the loss is computed only if it is noted


def test_the_heartbeat_sends_it_and_the_end_removes_it(tmp_path: Path) -> None:
    calls: list[tuple[str, ...]] = []
    client = SimpleNamespace(
        set_tag=lambda run, key, value: calls.append((key, value)),
        delete_tag=lambda run, key: calls.append((key,)),
        set_terminated=lambda *_: None,
    )
    store = SimpleNamespace(
        client=client,
        mlflow_client=client,
        translate_errors=contextlib.nullcontext,
        without_retries=contextlib.nullcontext,
    )
    sender = RunSender(cast("Any", store), "run", "0", cast("Any", SimpleNamespace(folder=tmp_path)))
    sender.send_heartbeat()
    sender.running_epoch = "epoch 1/3, batch 1/4"
    for _ in range(2):
        sender.send_heartbeat()
    sender.send({"kind": "finish", "status": "FINISHED", "at": 0})
    sender.send_heartbeat()
    of_epoch = [call for call in calls if call[0] == RUNNING_EPOCH_TAG]
    assert of_epoch == [(RUNNING_EPOCH_TAG, "epoch 1/3, batch 1/4"), (RUNNING_EPOCH_TAG,)]


@pytest.mark.parametrize(
    ("running", "is_shown"),
    [("epoch 3/9, batch 5/90, loss 0.4", True), ("epoch 2/9, batch 5/90", False), ("", False)],
)
def test_watch_shows_the_best_epoch_and_the_running_one(running: str, is_shown: bool) -> None:
    required = {
        field.name: ""
        for field in dataclasses.fields(Run)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    given = {
        "status": "RUNNING",
        "tags": {RUNNING_EPOCH_TAG: running},
        "params": {"epochs": "9"},
        "started_at": None,
    }
    run = Run(**{**required, **given})  # type: ignore[arg-type]
    snapshot = RunSnapshot(
        run=run,
        points={"loss": ((1, 0.9), (2, 0.8)), "val_accuracy": ((1, 0.91), (2, 0.9))},
        objective=ACCURACY,
        best=Epoch(1, {"val_accuracy": 0.91}, 1.0),
    )
    console = Console(width=60, force_terminal=True, color_system=None, record=True, file=io.StringIO())
    console.print(_panel(snapshot))
    lines = console.export_text().splitlines()
    assert "epoch 2/9" in lines[0]
    assert lines[1] == "best val_accuracy 0.91 in epoch 1"
    assert (running in lines) == is_shown
    assert [line.split()[0] for line in lines[-2:]] == ["val_accuracy", "loss"]
