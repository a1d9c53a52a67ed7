"""Six kills of the test that kills.py runs with any number of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.kills import soak


@pytest.mark.slow
def test_killed_runs_equal_an_uninterrupted_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        results = soak(
            tmp_path,
            "digits",
            kills=6,
            seed=3,
            per_run=3,
            options=["--epochs", "8"],
            jobs=2,
            report_line=print,
        )
    assert not [f"{run.name}: {run.different}" for run in results if run.different]
    assert sum(len(run.kills) for run in results) == 6
