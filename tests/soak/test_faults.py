"""Short forms of the test that faults.py runs by hand for an hour."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.serving.conftest import models  # noqa: F401 - a fixture
from tests.soak.faults import KINDS, Plan, soak

IS_LONG = os.environ.get("MLCTL_TEST_LONG") == "1"
SHORT = Plan(seconds=16, promotions=4, outage_s=2, trial_s=1)
LONG = Plan(seconds=120, promotions=8, outage_s=5, trial_s=5)


@pytest.mark.live
@pytest.mark.slow
def test_no_good_request_fails(
    tmp_path: Path,
    models: dict[str, Path],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = soak(tmp_path, models["pictures"], LONG if IS_LONG else SHORT)
    with capsys.disabled():
        print(report.summary())
    assert not report.faults()
    assert all(report.statuses[kind] for kind in KINDS)
    assert report.events["broken version promoted"] == 3
    assert report.events["worker killed"] >= 2
    if IS_LONG:
        assert report.growth < 1.2
