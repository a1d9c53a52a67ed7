"""One metric of several runs, by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlctl.adapters.plots.metric_curves import draw
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Curve, Curves
from mlctl.errors import NotFoundError, did_you_mean
from mlctl.services.runs.listing import KEPT
from mlctl.services.runs.select import find, parse_objective


def curves(
    tracking_uri: str,
    selectors: Sequence[str],
    metric: str | None = None,
    save: Path | None = None,
    experiment: str | None = None,
) -> Curves:
    """Return a metric's curve of each run; without a metric, of what the first run tries to reach.

    Writes them as a picture to `save`, if given. Raises NotFoundError where a run has no such metric.
    """
    store = TrackingStore(tracking_uri)
    runs = list({run.run_id: run for run in (find(store, one, experiment) for one in selectors)}.values())
    metric = metric or _usual(runs[0])
    found = []
    for run in runs:
        if metric not in run.metrics:
            known = sorted(name for name in run.metrics if not name.startswith(KEPT))
            near = did_you_mean(metric, known) or f"it has: {', '.join(known) or 'none yet'}"
            raise NotFoundError(f"run {run.run_name} has no metric {metric!r}", near)
        points = store.history(run.run_id, metric)
        steps, values = zip(*points, strict=True) if points else ((), ())
        found.append(Curve(run.run_id, run.run_name, steps, values))
    answer = Curves(metric, tuple(found), str(save) if save else None)
    if save:
        draw(answer, save)
    return answer


def _usual(run: Run) -> str:
    aim = parse_objective(run.tags.get("mlctl.objective", ""))
    names = [name for name in run.metrics if not name.startswith(KEPT)]
    if aim and aim.metric in names:
        return aim.metric
    for name in ("val_accuracy", "val_loss", "loss", *sorted(names)):
        if name in names:
            return name
    raise NotFoundError(f"run {run.run_name} has no metrics yet", f"mlctl runs watch {run.run_name}")
