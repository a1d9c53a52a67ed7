"""The direction of a metric: of the objective if that measures the same, else of the name."""

from __future__ import annotations

import dataclasses

import pytest

from mlctl.domain.objective import lower_is_better
from mlctl.domain.run import Run
from mlctl.domain.tags import OBJECTIVE_TAG
from mlctl.services.runs.metrics import objective_for

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "metric",
    [
        "loss", "val_loss", "log_loss", "best_val_mae", "test_rmse_1", "mean_squared_error", "priority_loss",
        "val_sparse_categorical_crossentropy", "kl_divergence", "reconstruction_error", "perplexity",
        "false_negatives", "test_wer", "accuracy_loss",
    ],
)  # fmt: skip
def test_losses_and_errors_are_minimized(metric: str) -> None:
    assert lower_is_better(metric)


@pytest.mark.parametrize(
    "metric",
    [
        "accuracy", "val_f1", "auc", "test_iou", "iou_error", "average_precision", "micro_f1", "exact_match",
        "dice", "r2_0", "loss_accuracy", "error_f1", "cosine_similarity", "anything",
    ],
)  # fmt: skip
def test_other_metrics_are_maximized(metric: str) -> None:
    assert not lower_is_better(metric)


def test_the_objective_decides_for_every_name_of_its_score() -> None:
    run = _run("min:val_strangeness")
    for name in ("strangeness", "val_strangeness", "best_val_strangeness", "test_strangeness"):
        assert not objective_for(name, [None, run]).maximize
    assert objective_for("test_accuracy", [run]).maximize
    assert objective_for("test_strangeness", []).maximize
    assert not objective_for("test_mae", [_run("max:val_accuracy")]).maximize


def _run(objective: str) -> Run:
    required = {
        field.name: ""
        for field in dataclasses.fields(Run)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    return Run(**{**required, "tags": {OBJECTIVE_TAG: objective}})  # type: ignore[arg-type]
