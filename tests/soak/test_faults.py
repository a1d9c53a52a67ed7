"""Two minutes of the test that faults.py runs by hand for an hour."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.faults import TWO_MINUTES, save_base_model, soak


@pytest.mark.live
@pytest.mark.slow
def test_no_good_request_fails_and_memory_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = soak(tmp_path, save_base_model(tmp_path / "models"), TWO_MINUTES)
    with capsys.disabled():
        print(report.summary())
    assert not report.faults()
    assert report.growth < 1.2
