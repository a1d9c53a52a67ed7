"""The state of a search, read from the runs of its trials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mlctl.domain.run import Run
from mlctl.domain.tags import (
    DURATION_TAG,
    ERROR_TAG,
    KIND_TAG,
    OBJECTIVE_TAG,
    REASON_TAG,
    SEARCH_EPOCHS_TAG,
    SEARCH_TRIALS_TAG,
    STATE_TAG,
    TRIAL_TAG,
)
from mlctl.services.runs.search_snapshot import read_search

pytestmark = pytest.mark.unit


def make_run(
    run_id: str,
    status: str = "FINISHED",
    *,
    params: dict[str, str] | None = None,
    metrics: dict[str, float] | None = None,
    tags: dict[str, str],
) -> Run:
    return Run(
        run_id=run_id,
        run_name=run_id,
        experiment="e",
        status=status,
        tracking_uri="sqlite://",
        recipe="tiny",
        params=params or {},
        metrics=metrics or {},
        tags=tags,
    )


class FakeStore:
    """Three trials, one of them running, and a final model; records whose metric history is read."""

    def __init__(self) -> None:
        self.histories: list[str] = []
        self.runs = [
            make_run(
                "c", "RUNNING", params={"units": "8"}, metrics={"val_mae": 3.0}, tags={TRIAL_TAG: "0003"}
            ),
            make_run(
                "a",
                params={"units": "4"},
                metrics={"best_val_mae": 2.0, "val_mae": 2.5},
                tags={TRIAL_TAG: "0001", STATE_TAG: "stopped", REASON_TAG: "worse", DURATION_TAG: "1.5"},
            ),
            make_run(
                "b",
                "FAILED",
                params={"units": "6"},
                tags={TRIAL_TAG: "0002", STATE_TAG: "failed", ERROR_TAG: "NaN"},
            ),
            make_run("f", metrics={"val_loss": 1.0}, tags={TRIAL_TAG: "final-0001"}),
        ]

    def search_runs(self, conditions: Any, experiment: str) -> Iterator[Run]:
        return iter(self.runs)

    def get_metric_history(self, run_id: str, metric: str) -> tuple[tuple[int, float], ...]:
        self.histories.append(run_id)
        return ((1, 4.0), (2, 2.5))


def test_the_runs_of_trials_give_the_state_of_a_search() -> None:
    store: Any = FakeStore()
    search = make_run(
        "p",
        "RUNNING",
        tags={
            KIND_TAG: "search",
            OBJECTIVE_TAG: "min:val_mae",
            SEARCH_TRIALS_TAG: "9",
            SEARCH_EPOCHS_TAG: "5",
        },
    )
    snapshot = read_search(store, search, None)
    assert snapshot is not None
    assert [
        (trial.trial, trial.state, trial.score, trial.epochs, trial.reason) for trial in snapshot.ended_trials
    ] == [("0001", "stopped", 2.0, 2, "worse"), ("0002", "failed", None, 0, "NaN")]
    assert [(trial.trial, trial.epoch, trial.epochs, trial.value) for trial in snapshot.running] == [
        ("0003", 2, 5, 2.5)
    ]
    assert snapshot.best is not None
    assert (snapshot.total, snapshot.best.trial) == (9, "0001")
    store.histories.clear()
    assert read_search(store, search, snapshot) == snapshot
    assert store.histories == ["c"]  # trials that have ended are not read again


def test_a_training_is_not_a_search() -> None:
    store: Any = FakeStore()
    assert read_search(store, make_run("t", tags={OBJECTIVE_TAG: "min:val_mae"}), None) is None
