"""RUN on the command line: the run that a selector selects."""

from __future__ import annotations

import sqlite3

import pytest

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import NotFoundError, UsageError
from mlctl.services.runs.select import find_run

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("selector", "experiment", "name"),
    [
        ("peak", None, "peak"),
        ("last", None, "stock"),
        ("last", "toy", "nan"),
        ("best", "toy", "stand-in"),  # by best_val_f1; the failed run's last value would not count
        ("best", None, "lossy"),  # the newest run with an objective is of this experiment
        ("best:val_f1", None, "lossy"),
        ("best:val_f1", "toy", "stand-in"),
        ("best:-best_val_f1", "toy", "nan"),
        ("best:accuracy", None, None),  # only a run that never finished has it
        ("best:val_loss", "toy", "steady"),  # as low as peak, and newer
    ],
)
def test_a_selector_finds_its_run(
    store: str, selector: str, experiment: str | None, name: str | None
) -> None:
    if name is None:
        with pytest.raises(NotFoundError):
            find_run(TrackingStore(store), selector, experiment)
        return
    assert find_run(TrackingStore(store), selector, experiment).run_name == name


def test_the_metric_of_the_saved_model_decides_and_not_the_last_epoch(store: str) -> None:
    peak, steady = find_run(TrackingStore(store), "peak"), find_run(TrackingStore(store), "steady")
    assert peak.metrics["val_f1"] < steady.metrics["val_f1"]
    assert peak.metrics["best_val_f1"] > steady.metrics["best_val_f1"]


def test_an_id_and_its_prefix_find_the_run(store: str) -> None:
    tracking = TrackingStore(store)
    run_id = find_run(tracking, "peak").run_id
    assert find_run(tracking, run_id).run_id == run_id
    assert find_run(tracking, run_id.upper()[:12]).run_id == run_id


def test_a_name_selects_the_newest_run_of_this_name(store: str) -> None:
    assert find_run(TrackingStore(store), "twin").params["learning_rate"] == "0.1"


def test_an_ambiguous_prefix_lists_the_runs(own_store: str) -> None:
    with sqlite3.connect(own_store.removeprefix("sqlite:///")) as database:
        toy = "select experiment_id from experiments where name = 'toy'"
        (experiment,) = database.execute(toy).fetchone()
        database.executemany(
            "insert into runs (run_uuid, name, user_id, status, start_time, lifecycle_stage, experiment_id)"
            " values (?, 'pair', 'ann', 'FINISHED', 1, 'active', ?)",
            [(f"aaaaaaa{number}" + "0" * 24, experiment) for number in (1, 2)],
        )
    with pytest.raises(UsageError, match=r"aaaaaaa10000 .*aaaaaaa20000"):
        find_run(TrackingStore(own_store), "aaaaaaa")


def test_an_unknown_run_gets_a_suggestion(store: str) -> None:
    with pytest.raises(NotFoundError, match="no run 'stedy'") as caught:
        find_run(TrackingStore(store), "stedy")
    assert caught.value.hint == "did you mean steady?"
