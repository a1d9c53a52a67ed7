"""What a list of runs shows of each run beside its own values: best values, and parameters that differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mlctl.domain.run import Run, RunScore
from mlctl.domain.run_queries import RunField
from mlctl.services.runs.metrics import has_model_metrics, is_model_metric, objective_for

NEITHER_HIGH_NOR_LOW = {"best_epoch", "epoch", "learning_rate"}


def groups_of(runs: Iterable[Run]) -> list[list[Run]]:
    """Return the runs in groups that can be compared: those of one recipe and the same data."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        data = (run.data.sha256 or run.data.source) if run.data else ""
        groups.setdefault((run.recipe, data), []).append(run)
    return list(groups.values())


def best_metrics(runs: Sequence[Run], metrics: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the metrics of which each run has the best value of its group, by the run's id.

    At least two runs of the group must have the metric, with different values. The last epoch of a run that has a
    saved model does not count. The objectives of the runs decide the direction, else the metric's name.
    """
    best: dict[str, set[str]] = {}
    names = [name for name in dict.fromkeys(metrics) if name not in NEITHER_HIGH_NOR_LOW]
    for group in groups_of(runs):
        for name in names:
            values = {
                run.run_id: value
                for run in group
                if (value := run.metrics.get(name)) is not None
                and value == value
                and (is_model_metric(name) or not has_model_metrics(run))
            }
            if len(set(values.values())) < 2:
                continue
            choose = max if objective_for(name, group).maximize else min
            limit = choose(values.values())
            for run_id, value in values.items():
                if value == limit:
                    best.setdefault(run_id, set()).add(name)
    return {run_id: frozenset(names) for run_id, names in best.items()}


def differing_params(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """Return the parameters that differ within each group of runs, by the run's id."""
    differing = {}
    for group in groups_of(runs):
        values: dict[str, set[str]] = {}
        for run in group:
            for name, value in run.params.items():
                values.setdefault(name, set()).add(value)
        varied = [name for name, found in values.items() if len(found) > 1]
        for run in group:
            differing[run.run_id] = {name: run.params[name] for name in varied if name in run.params}
    return differing


def score_fields(scores: Mapping[str, RunScore]) -> list[RunField]:
    """Return the metrics that are the scores of runs, each followed by its value on the test split."""
    names = [name for score in scores.values() for name in (score.metric, score.test_metric) if name]
    return [RunField("metric", name) for name in dict.fromkeys(names)]


def all_fields(runs: Sequence[Run], first: Sequence[RunField]) -> list[RunField]:
    """Return every metric and parameter of the runs, and the user's own tags; `first` come first."""
    metrics = sorted({name for run in runs for name in run.metrics})
    params = dict.fromkeys(name for run in runs for name in run.params)
    tags = sorted({name for run in runs for name in run.tags if not name.startswith(("mlctl.", "mlflow."))})
    fields = [
        *first,
        *(RunField("metric", name) for name in metrics),
        *(RunField("param", name) for name in params),
        *(RunField("tag", name) for name in tags),
    ]
    return list(dict.fromkeys(fields))
