"""Stop a run on whatever machine it runs: the request travels through the tracking store."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.heartbeat import HEARTBEAT
from mlctl.domain.run import Run
from mlctl.domain.run_queries import ChangedRuns
from mlctl.domain.stop_request import StopRequest
from mlctl.domain.tags import STOP_TAG, STOP_TRIAL_PREFIX, TRIAL_TAG
from mlctl.errors import RefusedError
from mlctl.services.runs.select import find_run

POLL_S = 0.5
RUNNING, LOST, KILLED = "RUNNING", "LOST", "KILLED"


def stop_run(
    tracking_uri: str, selector: str, *, reason: str = "", wait_s: float, experiment: str | None = None
) -> ChangedRuns:
    """Ask a running training, search, trial or script to stop, and wait until it has; return the run.

    A run whose process is gone is marked as KILLED. Raises RefusedError if the run does not run, or if its program
    does not listen.
    """
    store = TrackingStore(tracking_uri)
    run = find_run(store, selector, experiment)
    _require_stoppable(run)
    request = StopRequest(
        by=provenance.acting_user(), at=datetime.now(UTC).isoformat(timespec="seconds"), reason=reason
    ).to_text()
    with store.translate_errors():
        if trial := run.tags.get(TRIAL_TAG):  # the search reads the tags of its own run only
            store.client.set_tag(run.parent_run_id, STOP_TRIAL_PREFIX + trial, request)
        store.client.set_tag(run.run_id, STOP_TAG, request)
        if run.status == LOST:
            store.client.update_run(run.run_id, status=KILLED)
    deadline = time.monotonic() + wait_s
    while (current := store.get_run(run.run_id)).status == RUNNING and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return ChangedRuns((current,), "asked to stop" if current.status == RUNNING else "stopped")


def _require_stoppable(run: Run) -> None:
    if run.status not in {RUNNING, LOST}:
        raise RefusedError(
            f"run {run.run_name} ({run.run_id[:8]}) does not run: it is {run.status}",
            "see what runs: mlctl runs list --where 'status = RUNNING' --trials",
        )
    is_trial = TRIAL_TAG in run.tags and run.parent_run_id
    if not is_trial and HEARTBEAT not in run.tags:
        raise RefusedError(
            f"run {run.run_name} ({run.run_id[:8]}) is not recorded by mlctl, so nothing listens",
            "stop the program that records it, on its own machine",
        )
