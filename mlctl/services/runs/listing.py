"""Listing and showing runs and experiments."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run, RunDetail
from mlctl.domain.run_queries import ExperimentList, RunField, RunList, SortKey
from mlctl.domain.tags import GIT_PREFIX, MACHINE_PREFIX, PRECISION_TAG, RECIPE_SOURCE_TAG, VERSION_PREFIX
from mlctl.errors import MlctlError, UsageError
from mlctl.services.runs.fields import FieldResolver, sort_value
from mlctl.services.runs.metrics import (
    epoch_metrics,
    has_model_metrics,
    is_model_metric,
    model_metric,
    objective_for,
    objective_of,
)
from mlctl.services.runs.run_filter import RunFilter, parse_filter
from mlctl.services.runs.select import find_run

SORTABLE_ATTRIBUTES = {"started", "status", "run_name"}  # the store can sort by these, and by metrics
ENVIRONMENT_PREFIXES = (MACHINE_PREFIX, VERSION_PREFIX, GIT_PREFIX, PRECISION_TAG, RECIPE_SOURCE_TAG)
ENVIRONMENT_TAGS = ("mlflow.user", "mlflow.source.name", "mlflow.source.git.commit")
MATCH_ALL = RunFilter(lambda run: True, ())


def list_runs(
    tracking_uri: str,
    *,
    experiment: str | None = None,
    where: str | None = None,
    sort: str | None = None,
    columns: str | None = None,
    limit: int = 20,
) -> RunList:
    """Return the runs that match, in order, at most `limit` of them (0: all).

    The store filters and sorts as far as it can do this exactly; the rest is done here, page by page.
    """
    store = TrackingStore(tracking_uri)
    if not store.exists:
        return RunList(runs=())
    store.experiment_ids(experiment)  # raises NotFoundError if there is no such experiment
    resolver = FieldResolver(store, experiment)
    run_filter = parse_filter(where, resolver.resolve) if where and where.strip() else MATCH_ALL
    order = [_sort_key(name, resolver) for name in _split_names(sort)]
    custom_columns = [resolver.resolve(name, " (in --columns)") for name in _split_names(columns)]
    store_sorts = all(key.field.kind == "metric" or key.field.name in SORTABLE_ATTRIBUTES for key in order)
    needed = limit + 1 if limit and store_sorts else None  # one more shows whether there are more
    expected = needed if needed is None or where is None else max(100, needed)
    candidates = store.search_runs(
        run_filter.conditions, order=order if store_sorts else (), experiment=experiment, expected=expected
    )
    runs = list(islice((run for run in candidates if run_filter.matches(run)), needed))
    if not store_sorts:
        for key in reversed(order):
            runs = _sort_runs(runs, key)
    shown = runs[:limit] if limit else runs
    fields = tuple(custom_columns) or _default_columns(shown, order, run_filter)
    return RunList(
        runs=tuple(shown),
        columns=fields,
        best=best_values(shown, fields),
        has_more=len(runs) > len(shown),
        custom_columns=bool(custom_columns),
    )


def show_run(tracking_uri: str, selector: str, experiment: str | None = None) -> RunDetail:
    """Return a run with its metric histories, artifacts and environment."""
    store = TrackingStore(tracking_uri)
    run = find_run(store, selector, experiment)
    histories = {
        name: tuple(value for _, value in store.get_metric_history(run.run_id, name))
        for name in epoch_metrics(run.metrics)
    }
    notes: tuple[str, ...] = ()
    try:
        artifacts = store.list_artifacts(run)
    except MlctlError as error:  # the run is worth showing without its files
        artifacts, notes = (), (f"artifacts cannot be listed: {error.message}",)
    return RunDetail(
        run=run, histories=histories, artifacts=artifacts, environment=_environment(run), notes=notes
    )


def list_experiments(tracking_uri: str) -> ExperimentList:
    """Return all experiments, the one used last first."""
    return ExperimentList(TrackingStore(tracking_uri).list_experiments())


def best_values(runs: Sequence[Run], fields: Sequence[RunField]) -> dict[str, float]:
    """Return the best value of each metric that at least two runs have with different values.

    The objectives of the runs decide the direction, else the metric's name.
    """
    best = {}
    for name in (field.name for field in fields if field.kind == "metric" and field.name != "best_epoch"):
        values = [value for run in runs if (value := run.metrics.get(name)) is not None and value == value]
        if len(values) > 1 and min(values) != max(values):
            best[name] = max(values) if objective_for(name, runs).maximize else min(values)
    return best


def _split_names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _sort_key(text: str, resolver: FieldResolver) -> SortKey:
    name = text.removeprefix("-").removeprefix("+")
    if not name:
        raise UsageError(
            f"--sort {text}: the name after the sign is missing",
            "write it as --sort -best_val_f1 or --sort started",
        )
    return SortKey(resolver.resolve(name, " (in --sort)"), text.startswith("-"))


def _sort_runs(runs: Sequence[Run], key: SortKey) -> list[Run]:
    """Sort runs by one field; those without a value come last in both directions."""
    present = [run for run in runs if sort_value(run, key.field)[0] < 2]
    absent = [run for run in runs if sort_value(run, key.field)[0] >= 2]
    present.sort(key=lambda run: sort_value(run, key.field), reverse=key.descending)
    absent.sort(key=lambda run: sort_value(run, key.field)[0])
    return present + absent


def _default_columns(
    runs: Sequence[Run], order: Sequence[SortKey], run_filter: RunFilter
) -> tuple[RunField, ...]:
    """Return the fields of the options, the metrics of saved models, and the parameters that differ."""
    requested = [key.field for key in order] + [condition.field for condition in run_filter.conditions]
    model_metrics = {
        name for run in runs for name in run.metrics if is_model_metric(name) and name != "best_epoch"
    }
    objectives = [model_metric(objective.metric) for run in runs if (objective := objective_of(run))]
    # runs of other programs only have values of epochs
    other_metrics = {name for run in runs if not has_model_metrics(run) for name in run.metrics}
    metrics = [
        *(name for name in objectives if name in model_metrics),
        *sorted(model_metrics, key=lambda name: (name.startswith("best_"), name)),
        *sorted(other_metrics),
    ]
    params = dict.fromkeys(name for run in runs for name in run.params)
    differing = [name for name in params if len({run.params.get(name) for run in runs}) > 1]
    fields = [
        *(field for field in requested if field.kind != "attribute"),
        *(RunField("metric", name) for name in metrics),
        *(RunField("param", name) for name in differing),
    ]
    return tuple(dict.fromkeys(fields))


def _environment(run: Run) -> dict[str, str]:
    environment = {
        key.removeprefix("mlctl."): value
        for key, value in run.tags.items()
        if key.startswith(ENVIRONMENT_PREFIXES)
    }
    environment |= {
        key.removeprefix("mlflow."): run.tags[key] for key in ENVIRONMENT_TAGS if run.tags.get(key)
    }
    return dict(sorted(environment.items()))
