"""The lines of a search's trials: on a terminal they do not wrap, and the score stays."""

from __future__ import annotations

import pytest

from mlctl.domain.tune import DONE, STOPPED, Trial
from mlctl.output.search_progress import trial_line

pytestmark = pytest.mark.unit


def _trial(**values: object) -> Trial:
    params = {"learning_rate": 0.0074512, "units": 32, "dropout": 0.1716, "tuner/epochs": 3}
    given = {"trial": "0002", "run_id": "", "state": DONE, "score": 0.8997, "epochs": 3, "duration_s": 20.0}
    return Trial(**{**given, "params": params, **values})  # type: ignore[arg-type]


def test_a_line_ends_where_the_terminal_does() -> None:
    assert trial_line(_trial(), is_best=True, width=60).plain == (
        "trial 0002    0.8997*  3 epochs, 20 s  learning_rate=0.0074…"
    )
    stopped = trial_line(_trial(state=STOPPED, reason="worse than half"), is_best=False, width=60).plain
    assert stopped == "trial 0002    0.8997   3 epochs, 20 s  stopped: worse than …"


def test_elsewhere_a_line_has_everything() -> None:
    assert trial_line(_trial(), is_best=True).plain == (
        "trial 0002     0.8997  learning_rate=0.007451 units=32 dropout=0.1716  3 epochs, 20 s  best"
    )
