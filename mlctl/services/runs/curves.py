"""Curves of one metric by epoch, for several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Curve, Curves
from mlctl.errors import NotFoundError, UsageError, did_you_mean
from mlctl.services.runs.metrics import epoch_metrics, objective_of
from mlctl.services.runs.select import find_runs


def load_curves(
    tracking_uri: str,
    selectors: Sequence[str],
    *,
    metric: str | None = None,
    save: Path | None = None,
    experiment: str | None = None,
) -> Curves:
    """Return a metric's curve for each run.

    Raises NotFoundError if a run does not have the metric, UsageError if it has one value only.

    Args:
        tracking_uri: Tracking store.
        selectors: Runs, as RUN on the command line.
        metric: Name of the metric; None for the objective of the first run.
        save: Image file to draw the curves into.
        experiment: Experiment of the runs; None for all.
    """
    store = TrackingStore(tracking_uri)
    runs = find_runs(store, selectors, experiment)
    metric = metric or _default_metric(runs[0])
    curves = Curves(
        metric, tuple(_load_curve(store, run, metric) for run in runs), str(save) if save else None
    )
    if save:
        from mlctl.adapters.plots.metric_curves import plot_curves

        plot_curves(curves, save)
    return curves


def _load_curve(store: TrackingStore, run: Run, metric: str) -> Curve:
    if metric not in run.metrics and metric not in run.system_metrics:
        names = sorted(epoch_metrics(run.metrics))
        suggestion = did_you_mean(metric, names) or f"its metrics are: {', '.join(names) or 'none yet'}"
        raise NotFoundError(f"run {run.run_name} has no metric {metric!r}", suggestion)
    points = store.get_metric_history(run.run_id, metric)
    if len(points) < 2:
        others = [
            name
            for name in sorted(epoch_metrics(run.metrics))
            if len(store.get_metric_history(run.run_id, name)) > 1
        ]
        value = f": {points[0][1]:.6g}" if points else ""
        raise UsageError(
            f"run {run.run_name} has one value of {metric}{value}; a curve needs two",
            f"choose a metric with a value per epoch: {', '.join(others)}"
            if others
            else f"to see all values: mlctl runs show {run.run_name}",
        )
    steps, values = zip(*points, strict=True)
    return Curve(run_id=run.run_id, run_name=run.run_name, recipe=run.recipe, steps=steps, values=values)


def _default_metric(run: Run) -> str:
    objective, names = objective_of(run), epoch_metrics(run.metrics)
    candidates = [objective.metric] if objective else []
    for name in (*candidates, "val_accuracy", "val_loss", "loss", *sorted(names)):
        if name in names:
            return name
    raise NotFoundError(
        f"run {run.run_name} has no metrics yet", f"to wait for them: mlctl runs watch {run.run_name}"
    )
