from __future__ import annotations

import sqlite3

import pytest

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.errors import NotFoundError, UsageError
from mlctl.services.runs.select import find


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
            find(TrackingStore(store), selector, experiment)
        return
    assert find(TrackingStore(store), selector, experiment).run_name == name


def test_the_kept_models_figure_decides_and_not_the_last_one(store: str) -> None:
    peak, steady = find(TrackingStore(store), "peak"), find(TrackingStore(store), "steady")
    assert peak.metrics["val_f1"] < steady.metrics["val_f1"]
    assert peak.metrics["best_val_f1"] > steady.metrics["best_val_f1"]


def test_an_id_and_its_prefix_find_the_run(store: str) -> None:
    reader = TrackingStore(store)
    wanted = find(reader, "peak").run_id
    assert find(reader, wanted).run_id == wanted
    assert find(reader, wanted.upper()[:12]).run_id == wanted


def test_of_a_name_the_newest_run_is_meant(store: str) -> None:
    assert find(TrackingStore(store), "twin").params["learning_rate"] == "0.1"


def test_an_ambiguous_prefix_names_the_candidates(own_store: str) -> None:
    with sqlite3.connect(own_store.removeprefix("sqlite:///")) as database:
        toy = "select experiment_id from experiments where name = 'toy'"
        (experiment,) = database.execute(toy).fetchone()
        database.executemany(
            "insert into runs (run_uuid, name, user_id, status, start_time, lifecycle_stage, experiment_id)"
            " values (?, 'pair', 'ann', 'FINISHED', 1, 'active', ?)",
            [(f"aaaaaaa{number}" + "0" * 24, experiment) for number in (1, 2)],
        )
    with pytest.raises(UsageError, match=r"aaaaaaa10000 .*aaaaaaa20000"):
        find(TrackingStore(own_store), "aaaaaaa")


def test_a_run_that_is_not_there_gets_a_suggestion(store: str) -> None:
    with pytest.raises(NotFoundError, match="no run 'stedy'") as caught:
        find(TrackingStore(store), "stedy")
    assert caught.value.hint == "did you mean steady?"
