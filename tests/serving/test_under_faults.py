"""Ten seconds of the test in tests/soak/faults.py: broken versions, killed workers, no registry, a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.faults import Plan, soak

PLAN = Plan(seconds=10, promotions=5, outage_s=1, trial_s=1)


@pytest.mark.live
@pytest.mark.slow
def test_no_good_request_fails(models: dict[str, Path], tmp_path: Path) -> None:
    report = soak(tmp_path, models["pictures"], PLAN)
    assert not report.faults(), report.summary()
    assert report.events["broken version promoted"] == 3
