"""The choice of an epoch, a trial or a model: by the objective, and by val_loss among near-ties."""

from __future__ import annotations

import math
import random

import pytest

from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.domain.selection import (
    Scored,
    best_epoch,
    choose,
    describe_near_tie,
    is_preferred,
    is_proportion,
    standard_error,
)
from mlctl.domain.tune import DONE, FAILED, STOPPED, Trial, best_trial, rank_trials

pytestmark = pytest.mark.unit

ACCURACY, MAE = Objective("val_accuracy", maximize=True), Objective("val_mae", maximize=False)
ROWS = 289


def _epochs(*values: tuple[float, float], metric: str = "val_accuracy", rows: int = ROWS) -> list[Epoch]:
    return [
        Epoch(number, {metric: score, "val_loss": loss}, 0.1, rows)
        for number, (score, loss) in enumerate(values, 1)
    ]


def _kept(epochs: list[Epoch], objective: Objective = ACCURACY) -> int:
    epoch = best_epoch(epochs, objective)
    assert epoch is not None
    return epoch.number


def test_the_standard_error_is_that_of_a_proportion_of_rows() -> None:
    assert standard_error("val_accuracy", 0.9, 96) == pytest.approx(math.sqrt(0.884 * 0.116 / 100))
    assert 1 / ROWS < standard_error("val_accuracy", 1.0, ROWS) < 2 / ROWS  # a perfect score may be luck
    assert standard_error("val_accuracy", 0.9, 1_000_000) < 0.001  # little changes with many rows
    for metric, score, rows in (
        ("val_accuracy", 0.9, 0),  # the number of rows is unknown
        ("val_accuracy", 90.0, 100),  # percentages
        ("accuracy", 0.9, 100),  # of the training rows
        ("val_mae", 0.9, 100),
        ("val_loss", 0.3, 100),
        ("val_r2", 0.9, 100),
        ("val_iou", 0.9, 100),  # a mean over pixels
        ("val_accuracy", math.nan, 100),
    ):
        assert standard_error(metric, score, rows) == 0.0


def test_proportions_are_known_by_the_last_word_of_their_name() -> None:
    for metric in (
        "val_sparse_top_k_categorical_accuracy",
        "val_f1_score",
        "val_price_auc_1",
        "val_loss_acc",
    ):
        assert is_proportion(metric)
    for metric in ("val_accuracy_loss", "val_error", "val_anything", "val_mean_iou", "val_precision_mae"):
        assert not is_proportion(metric)


def test_val_loss_decides_ties_and_near_ties_of_a_proportion() -> None:
    assert _kept(_epochs((0.9861, 0.08), (0.9861, 0.05), (0.9861, 0.06))) == 2
    assert _kept(_epochs((0.9861, 0.08), (0.9827, 0.04))) == 2  # one row less of 289
    assert _kept(_epochs((0.9861, 0.08), (0.9723, 0.04))) == 1  # four rows less
    assert _kept(_epochs((0.9861, 0.08), (0.9827, 0.04), rows=0)) == 1
    assert _kept(_epochs((0.9861, 0.08), (0.9827, 0.04), rows=100_000)) == 1
    assert _kept(_epochs((0.9861, 0.05), (0.9861, 0.05))) == 1  # the first of what nothing tells apart


def test_other_objectives_decide_alone_unless_they_are_equal() -> None:
    assert _kept(_epochs((3.0, 0.5), (2.9999, 0.9), metric="val_mae"), MAE) == 2
    assert _kept(_epochs((3.0, 0.5), (3.0, 0.4), metric="val_mae"), MAE) == 2
    loss = Objective("val_loss", maximize=False)
    assert _kept([Epoch(1, {"val_loss": 0.2}, 0.1, 9), Epoch(2, {"val_loss": 0.1999}, 0.1, 9)], loss) == 2


@pytest.mark.parametrize(("tolerance", "chosen"), [(0.25, 0), (1.0, 1), (4.0, 2)])
def test_an_objective_has_a_tolerance_of_its_own(tolerance: float, chosen: int) -> None:
    objective = Objective("val_accuracy", maximize=True, tolerance=tolerance)
    scores = (0.90, 0.5), (0.89, 0.4), (0.86, 0.3)  # the standard error of 400 rows is .015
    candidates = [Scored(score=score, val_loss=loss, rows=400) for score, loss in scores]
    assert choose(candidates, objective) == chosen
    assert objective == ACCURACY  # the name of a run's objective has no tolerance


def test_near_ties_do_not_add_up() -> None:
    """Each epoch is nearly as good as the one before it, and the last one is much worse than the first."""
    epochs = _epochs(*((0.99 - 0.004 * step, 0.1 - 0.01 * step) for step in range(8)))
    kept = best_epoch(epochs, ACCURACY)
    assert kept is not None
    assert 0.99 - standard_error("val_accuracy", 0.99, ROWS) <= kept.metrics["val_accuracy"] < 0.99


def test_numbers_beat_what_is_no_number() -> None:
    nan = math.nan
    assert _kept(_epochs((nan, 0.1), (0.2, 0.9), (nan, 0.1))) == 2
    assert _kept(_epochs((0.9, nan), (0.9, 0.5), (0.9, nan))) == 2
    assert _kept(_epochs((0.9, nan), (0.91, nan))) == 2  # without a loss, the score decides
    assert _kept(_epochs((math.inf, 0.1), (2.0, 0.9), metric="val_mae"), MAE) == 2
    assert best_epoch([Epoch(1, {"loss": 1.0}, 0.1)], ACCURACY) is None


def test_the_kept_epoch_is_always_within_one_standard_error_of_the_best_score() -> None:
    draw = random.Random(0)
    for _ in range(200):
        epochs = _epochs(*((draw.randint(250, 289) / 289, draw.random()) for _ in range(20)))
        kept = best_epoch(epochs, ACCURACY)
        top = max(epoch.metrics["val_accuracy"] for epoch in epochs)
        assert kept is not None
        assert kept.metrics["val_accuracy"] >= top - standard_error("val_accuracy", top, ROWS)
        assert bool(describe_near_tie(epochs, kept, ACCURACY)) == (kept.metrics["val_accuracy"] < top)


def test_a_candidate_is_compared_with_the_best_score_so_far() -> None:
    kept, new = Scored(score=0.975, val_loss=0.3, rows=ROWS), Scored(score=0.968, val_loss=0.1, rows=ROWS)
    assert is_preferred(new, kept, ACCURACY)
    assert not is_preferred(new, kept, ACCURACY, top=0.983)


def test_the_reason_for_the_kept_epoch_names_both_epochs_and_the_error() -> None:
    epochs = _epochs((0.9861, 0.08), (0.9827, 0.04))
    text = describe_near_tie(epochs, epochs[1], ACCURACY)
    assert text == (
        "epoch 2 is kept for its val_loss: epoch 1 has val_accuracy 0.9861, which is within one standard error "
        "(0.0083 for 289 rows)"
    )


def test_log_loss_decides_between_models_without_val_loss() -> None:
    models = [{"val_accuracy": 0.95, "val_log_loss": 0.3}, {"val_accuracy": 0.945, "val_log_loss": 0.2}]
    assert choose([Scored.of(metrics, ACCURACY, 400) for metrics in models], ACCURACY) == 1


def test_trials_are_ranked_with_the_best_one_first_and_the_others_by_score() -> None:
    trials = [
        _trial("0001", 0.96, 0.20),
        _trial("0002", 0.98, 0.15),
        _trial("0003", 0.977, 0.05),
        _trial("0004", 0.99, 0.01, state=STOPPED),
        _trial("0005", None, None, state=FAILED),
    ]
    assert [trial.trial for trial in rank_trials(trials, ACCURACY)] == [
        "0003",
        "0002",
        "0001",
        "0004",
        "0005",
    ]
    assert best_trial(trials[3:], ACCURACY) is trials[3]
    assert best_trial(trials[4:], ACCURACY) is None
    assert best_trial(list(reversed(trials)), ACCURACY) is trials[2]  # whatever ends first


def _trial(name: str, score: float | None, loss: float | None, state: str = DONE) -> Trial:
    return Trial(trial=name, run_id="", state=state, params={}, score=score, val_loss=loss, rows=ROWS)
