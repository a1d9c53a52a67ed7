"""Twenty seconds of the test that endpoints.py runs by hand for ten minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.endpoints import soak


@pytest.mark.live
@pytest.mark.slow
def test_promotions_and_kills_under_load(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        report = soak(
            tmp_path, seconds=20, clients=6, promote_every=6, kill_every=8, seed=1, report_line=print
        )
    assert not report.faults(6)
    assert report.promotions >= 1  # how many there are depends on the machine
    assert report.kills >= 1
    assert set(report.contents) == {"1", "2"}
    assert report.refused > 0
