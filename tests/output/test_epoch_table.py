"""The view of a training: fixed columns on a terminal, and what is shown of a long epoch."""

from __future__ import annotations

import pytest

from mlctl.domain.objective import Objective
from mlctl.domain.progress import Epoch
from mlctl.output.epoch_table import EpochTable, running_epoch

pytestmark = pytest.mark.unit

ACCURACY = Objective("val_accuracy", maximize=True)
METRICS = {
    "loss": 1.234,
    "accuracy": 0.8765,
    "val_loss": 0.4321,
    "val_accuracy": 0.955,
    "val_precision": 0.9,
    "learning_rate": 0.001,
}
BEST = Epoch(2, {**METRICS, "val_accuracy": 0.9654}, 0.3)


def _lines(table: EpochTable, width: int, epoch: int = 3, **others: float) -> list[str]:
    return [line.plain for line in table.lines(epoch, {**METRICS, **others}, BEST, 1.5, width)]


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (120, "epoch time val_accuracy best val_loss val_precision accuracy loss"),
        (80, "epoch time val_accuracy best val_loss val_precision accuracy"),  # the training loss goes first
        (60, "epoch time val_accuracy best val_loss"),
        (45, "epoch time val_accuracy best"),
        (20, "epoch time …ccuracy best"),
    ],
)
def test_the_objective_and_the_best_so_far_stay_at_any_width(width: int, columns: str) -> None:
    lines = _lines(EpochTable(ACCURACY, 30), width)
    assert lines[0].split() == columns.split()
    assert max(map(len, lines)) <= max(width, 36)
    assert lines[1].split()[:5] == ["3/30", "1.50", "s", "0.955", "0.9654"]


def test_columns_stay_under_their_header_which_is_printed_again_if_they_change() -> None:
    table = EpochTable(ACCURACY, 30)
    header, row = _lines(table, 80)
    (second,) = _lines(table, 80, epoch=30, val_accuracy=0.9, val_loss=1.2e-5)
    assert {len(header.rstrip()), len(row), len(second)} == {len(row)}
    assert len(_lines(table, 60)) == 2  # the terminal is narrower now
    assert len(_lines(table, 60)) == 1
    assert _lines(table, 60, phase=2.0) == _lines(table, 60)  # no room for it
    assert len(_lines(table, 120, phase=2.0)) == 2


def test_the_best_epoch_so_far_has_a_star() -> None:
    row = _lines(EpochTable(ACCURACY, 30), 80, epoch=2, val_accuracy=0.9654)[1]
    assert row.split()[3:5] == ["0.9654*", "0.9654"]


def test_a_training_without_validation_shows_its_own_metrics() -> None:
    lines = EpochTable(ACCURACY, 5).lines(1, {"loss": 0.5, "mae": 2.0}, Epoch(1, {"loss": 0.5}, 1.0), 1.0, 80)
    assert [line.plain.split() for line in lines] == [
        ["epoch", "time", "mae", "loss"],
        ["1/5", "1.00", "s", "2", "0.5"],
    ]


def test_the_running_loss_is_left_out_before_the_best_so_far() -> None:
    wide = running_epoch("epoch 3/10", batch="batch 120/400", loss=0.42134, best=0.9654, width=60)
    assert wide == "epoch 3/10  batch 120/400  loss 0.4213  best 0.9654"
    narrow = running_epoch("epoch 3/10", batch="batch 120/400", loss=0.42134, best=0.9654, width=40)
    assert narrow == "epoch 3/10  batch 120/400  best 0.9654"
