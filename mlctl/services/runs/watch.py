"""Following a run while another process, here or elsewhere, trains it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run_queries import Snapshot
from mlctl.errors import UnreachableError
from mlctl.services.runs.listing import KEPT
from mlctl.services.runs.select import find
from mlctl.services.runs.watch_search import search_now

PATIENCE_S = 300  # how long a store may be away before watching it makes no sense


def follow(
    tracking_uri: str, selector: str, experiment: str | None = None, interval_s: float = 2.0
) -> Iterator[Snapshot]:
    """Yield the run as it is now and whenever it has changed, until it ends.

    A store that goes away is waited for, which a snapshot says once; raises UnreachableError after
    PATIENCE_S seconds.
    """
    store = TrackingStore(tracking_uri)
    run = find(store, selector, experiment)
    last = _snapshot(store, Snapshot(run, {}))
    yield last
    answered = time.monotonic()
    while not last.ended:
        time.sleep(interval_s)
        try:
            run = store.run(last.run.run_id)
            changed = (
                (run.status, run.metrics) != (last.run.status, last.run.metrics) or last.away or last.search
            )
            now = _snapshot(store, replace(last, run=run, away=False)) if changed else last
        except UnreachableError:
            if time.monotonic() - answered > PATIENCE_S:
                raise
            now = replace(last, away=True)
        else:
            answered = time.monotonic()
        if now is not last and now != last:
            last = now
            yield last


def _snapshot(store: TrackingStore, known: Snapshot) -> Snapshot:
    run = known.run
    names = sorted(name for name in run.metrics if not name.startswith(KEPT) and name != "trials")
    points = {name: store.history(run.run_id, name) for name in names}
    return replace(known, points=points, search=search_now(store, run, known.search))
