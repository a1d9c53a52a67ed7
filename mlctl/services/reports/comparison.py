"""The sections of a report of several runs: their scores and curves in one table and plot each, and what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.report import ReportBlock, ReportSection, ReportTable
from mlctl.domain.run import Run
from mlctl.domain.run_queries import Curve, Curves
from mlctl.services.reports import plots
from mlctl.services.reports.run_sections import MAX_CURVES
from mlctl.services.reports.texts import IN_BRACKETS, difference_table, moment, with_interval
from mlctl.services.runs.compare import diff_runs
from mlctl.services.runs.metrics import (
    epoch_metrics,
    has_model_metrics,
    is_model_metric,
    objective_for,
    objective_of,
)
from mlctl.units import format_duration

MAX_PARAM_RUNS = 12  # with more, they are not compared side by side


def comparison_sections(store: TrackingStore, runs: Sequence[Run]) -> Iterator[ReportSection]:
    """Yield the sections of several runs."""
    yield ReportSection(title="Runs", blocks=[_runs_table(runs)])
    yield ReportSection(title="Scores", blocks=[_scores_table(runs)], missing="no run has a score")
    curves = [plots.curves_plot(curves) for curves in _shared_curves(store, runs)]
    yield ReportSection(
        title="Curves", blocks=curves, missing="no metric has more than one value in two runs"
    )
    if len(runs) == 2:
        yield _difference(store, runs[0], runs[1])
    else:
        yield _differing_params(runs)


def _runs_table(runs: Sequence[Run]) -> ReportTable:
    return ReportTable(
        columns=("run", "id", "recipe", "data", "status", "started", "duration"),
        rows=[
            (
                run.run_name,
                run.run_id[:8],
                run.recipe,
                f"{run.data.name} ({run.data.rows:,} rows)" if run.data else "",
                run.status.lower(),
                moment(run.started_at),
                format_duration(run.duration_s),
            )
            for run in runs
        ],
    )


def _scores_table(runs: Sequence[Run]) -> ReportTable:
    """Return the scores of all runs; the best one of each has a star."""
    is_shown = {
        name
        for run in runs
        for name in run.metrics
        if (is_model_metric(name) or not has_model_metrics(run)) and name != "best_epoch"
    }
    names = sorted(is_shown, key=lambda name: (not name.startswith("test_"), name))
    best = {}
    for name in names:
        values = [value for run in runs if (value := run.metrics.get(name)) is not None and value == value]
        if len(set(values)) > 1:
            best[name] = max(values) if objective_for(name, runs).maximize else min(values)

    def cell(run: Run, name: str) -> str:
        value = run.metrics.get(name)
        text = with_interval(value, run.intervals.get(name))
        return f"{text} ★" if value is not None and value == best.get(name) else text

    title = IN_BRACKETS if any(run.intervals for run in runs) else ""
    if len(runs) <= MAX_PARAM_RUNS:
        return ReportTable(
            title=title,
            columns=("score", *(run.run_name for run in runs)),
            rows=[(name.replace("_", " "), *(cell(run, name) for run in runs)) for name in names],
        )
    return ReportTable(
        title=title,
        columns=("run", *(name.replace("_", " ") for name in names)),
        rows=[(run.run_name, *(cell(run, name) for name in names)) for run in runs],
    )


def _shared_curves(store: TrackingStore, runs: Sequence[Run]) -> Iterator[Curves]:
    """Yield the curves of each metric that at least two runs have, the objective first."""
    objective = objective_of(runs[0])
    first = objective.metric if objective else ""
    counts: dict[str, int] = {}
    for run in runs:
        for name in epoch_metrics(run.metrics):
            counts[name] = counts.get(name, 0) + 1
    shared = [name for name, count in counts.items() if count > 1 and name not in ("learning_rate", "epoch")]
    ordered = sorted(shared, key=lambda name: (name != first, not name.startswith("val_"), name))
    for name in ordered[:MAX_CURVES]:
        curves = []
        for run in runs:
            points = store.get_metric_history(run.run_id, name) if name in run.metrics else ()
            if len(points) > 1:
                steps, values = zip(*points, strict=True)
                curves.append(
                    Curve(
                        run_id=run.run_id,
                        run_name=run.run_name,
                        recipe=run.recipe,
                        steps=steps,
                        values=values,
                    )
                )
        if len(curves) > 1:
            yield Curves(name, tuple(curves))


def _difference(store: TrackingStore, a: Run, b: Run) -> ReportSection:
    found = diff_runs(store.tracking_uri, a.run_id, b.run_id)
    columns = (a.run_name, b.run_name)
    if a.run_name == b.run_name:
        columns = (f"{a.run_name} {a.run_id[:8]}", f"{b.run_name} {b.run_id[:8]}")
    parts: Mapping[str, Mapping[str, tuple[object, object]]] = {
        "Parameters": found.params,
        "Data": found.data,
        "Code": found.code,
        "Environment": found.environment,
    }
    blocks: list[ReportBlock] = [
        difference_table(title, part, columns) for title, part in parts.items() if part
    ]
    return ReportSection(
        title="Differences", blocks=blocks, missing="parameters, data, code and environment are the same"
    )


def _differing_params(runs: Sequence[Run]) -> ReportSection:
    names = dict.fromkeys(name for run in runs for name in run.params)
    differing = [name for name in names if len({run.params.get(name) for run in runs}) > 1]
    if not differing or len(runs) > MAX_PARAM_RUNS:
        reason = "parameters are the same" if not differing else f"more than {MAX_PARAM_RUNS} runs"
        return ReportSection(title="Differences", missing=reason)
    table = ReportTable(
        columns=("parameter", *(run.run_name for run in runs)),
        rows=[(name, *(run.params.get(name, "") for run in runs)) for name in differing],
    )
    return ReportSection(title="Differences", blocks=[table])
