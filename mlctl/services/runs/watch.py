"""Following a run that another process trains, on this machine or elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import Epoch
from mlctl.domain.run import Run
from mlctl.domain.run_queries import RunSnapshot
from mlctl.domain.selection import best_epoch
from mlctl.domain.tags import RUNNING_EPOCH_TAG
from mlctl.errors import UnreachableError
from mlctl.notifications import RUN_LOST
from mlctl.services.runs.metrics import epoch_metrics, objective_of
from mlctl.services.runs.search_snapshot import read_search
from mlctl.services.runs.select import find_run
from mlctl.services.runs.tell import tell_about_run
from mlctl.settings import Settings

MAX_OUTAGE_S = 300


def watch_run(
    tracking_uri: str, selector: str, experiment: str | None = None, *, interval_s: float = 2.0
) -> Iterator[RunSnapshot]:
    """Yield the state of a run now and after each change, until the run ends.

    If the store stops answering, one snapshot says so, and the function keeps trying. Raises UnreachableError after
    MAX_OUTAGE_S seconds.
    """
    store = TrackingStore(tracking_uri)
    last = _read_snapshot(store, RunSnapshot(run=find_run(store, selector, experiment), points={}))
    yield last
    answered_at = time.monotonic()
    while not last.ended:
        time.sleep(interval_s)
        try:
            run = store.get_run(last.run.run_id)
            is_changed = _visible(run) != _visible(last.run)
            current = last
            if is_changed or last.store_unreachable or last.search:
                current = _read_snapshot(store, replace(last, run=run, store_unreachable=False))
            answered_at = time.monotonic()
        except UnreachableError:
            if time.monotonic() - answered_at > MAX_OUTAGE_S:
                raise
            current = replace(last, store_unreachable=True)
        if current != last:
            last = current
            yield last


def tell_if_lost(settings: Settings, run: Run) -> None:
    """Tell about a run whose process has died without a word."""
    if run.status == "LOST":
        tell_about_run(settings.notify, RUN_LOST, run)


def _visible(run: Run) -> tuple[object, ...]:
    return run.status, run.metrics, run.tags.get(RUNNING_EPOCH_TAG)


def _read_snapshot(store: TrackingStore, previous: RunSnapshot) -> RunSnapshot:
    """Return the previous snapshot with the points and trials of its run as they are now."""
    run = previous.run
    names = sorted(name for name in epoch_metrics(run.metrics) if name != "trials")
    points = {name: store.get_metric_history(run.run_id, name) for name in names}
    objective = objective_of(run)
    return replace(
        previous,
        points=points,
        search=read_search(store, run, previous.search),
        objective=objective,
        best=best_epoch(_epochs(run, points), objective) if objective else None,
    )


def _epochs(run: Run, points: Mapping[str, Sequence[tuple[int, float]]]) -> list[Epoch]:
    by_step: dict[int, dict[str, float]] = {}
    for name, values in points.items():
        for step, value in values:
            by_step.setdefault(step, {})[name] = value
    rows = run.data.splits.get("validation", 0) if run.data else 0
    return [Epoch(step, metrics, 0.0, rows) for step, metrics in sorted(by_step.items())]
