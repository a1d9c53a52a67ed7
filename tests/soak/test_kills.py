"""Six of the soak's kills; kills.py does as many as it is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.kills import soak


@pytest.mark.slow
def test_killed_runs_equal_the_whole_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        results = soak(tmp_path, "digits", 6, seed=3, per_run=3, options=["--epochs", "8"], jobs=2, say=print)
    assert not [f"{one.name}: {one.different}" for one in results if one.different]
    assert sum(len(one.kills) for one in results) == 6
