"""Listing and showing runs and experiments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.run import Run, RunDetail
from mlctl.domain.run_queries import ExperimentList, RunList, SortKey
from mlctl.domain.tags import GIT_PREFIX, PRECISION_TAG, RECIPE_SOURCE_TAG
from mlctl.errors import MlctlError, UsageError
from mlctl.services.runs.environment import read_environment
from mlctl.services.runs.fields import FieldResolver, sort_value
from mlctl.services.runs.folding import FoldedRuns, count_trials, fold, trials_below_parents, unfold
from mlctl.services.runs.metrics import epoch_metrics, score_of
from mlctl.services.runs.run_filter import RunFilter, parse_filter
from mlctl.services.runs.select import find_run
from mlctl.services.runs.summary import all_fields, best_metrics, differing_params, score_fields
from mlctl.units import count

SORTABLE_ATTRIBUTES = {"started", "status", "run_name"}  # the store can sort by these, and by metrics
ENVIRONMENT_PREFIXES = (GIT_PREFIX, PRECISION_TAG, RECIPE_SOURCE_TAG)
ENVIRONMENT_TAGS = ("mlflow.user", "mlflow.source.name", "mlflow.source.git.commit")
MATCH_ALL = RunFilter(lambda run: True, ())
ALL = "all"  # of --columns


def list_runs(
    tracking_uri: str,
    *,
    experiment: str | None = None,
    where: str | None = None,
    sort: str | None = None,
    columns: str | None = None,
    limit: int = 20,
    trials: bool = False,
) -> RunList:
    """Return the runs that match, in order, at most `limit` of them (0: all).

    The store filters and sorts as far as it can do this exactly; the rest is done here, page by page. A trial is
    folded into its search, unless `trials` or a filter by a metric, parameter or tag asks for it.
    """
    store = TrackingStore(tracking_uri)
    store.experiment_ids(experiment)  # raises NotFoundError if there is no such experiment
    resolver = FieldResolver(store, experiment)
    run_filter = parse_filter(where, resolver.resolve) if where and where.strip() else MATCH_ALL
    order = [_sort_key(name, resolver) for name in _split_names(sort)]
    names = _split_names(columns)
    chosen = [] if names == [ALL] else [resolver.resolve(name, " (in --columns)") for name in names]
    is_folded = not trials and all(field.kind == "attribute" for field in run_filter.fields)
    found = _search(store, run_filter, order=order, experiment=experiment, limit=limit, is_folded=is_folded)
    runs = found.runs if order else trials_below_parents(found.runs)
    is_counted = is_folded and not order and where is None  # a search comes after its trials: all were read
    counts = found.trials if is_counted else count_trials(store, runs, experiment)
    scores = {run.run_id: score for run in runs if (score := score_of(run))}
    requested = [key.field for key in order] + sorted(run_filter.fields, key=str)
    requested = [field for field in requested if field.kind != "attribute"]
    fields = chosen or list(dict.fromkeys([*requested, *score_fields(scores)]))
    if names == [ALL]:
        fields = all_fields(runs, fields)
    metrics = [field.name for field in [*fields, *score_fields(scores)] if field.kind == "metric"]
    return RunList(
        runs=tuple(runs),
        columns=tuple(fields),
        layout="chosen" if chosen else ALL if names else "summary",
        requested=tuple(dict.fromkeys(requested)),
        scores=scores,
        best=best_metrics(runs, metrics),
        trials={run.run_id: counts[run.run_id] for run in runs if counts.get(run.run_id)},
        differing=differing_params(runs),
        has_more=found.has_more,
        searched=_no_match(store, where, experiment) if where and not runs else "",
    )


def _search(
    store: TrackingStore,
    run_filter: RunFilter,
    *,
    order: Sequence[SortKey],
    experiment: str | None,
    limit: int,
    is_folded: bool,
) -> FoldedRuns:
    """Return the runs that match, in order."""
    store_sorts = all(key.field.kind == "metric" or key.field.name in SORTABLE_ATTRIBUTES for key in order)
    needed = limit + 1 if limit and store_sorts else None  # one more shows whether there are more
    expected = needed if needed is None or run_filter is MATCH_ALL else max(100, needed)
    candidates: Iterable[Run] = store.search_runs(
        run_filter.conditions, order=order if store_sorts else (), experiment=experiment, expected=expected
    )
    candidates = (run for run in candidates if run_filter.matches(run))
    if not store_sorts:
        candidates = list(candidates)
        for key in reversed(order):
            candidates = _sort_runs(candidates, key)
    if not is_folded:
        return unfold(candidates, limit)

    def listed_parents(run_ids: Sequence[str]) -> set[str]:
        parents = (run for run in store.get_runs(run_ids) if run_filter.matches(run))
        return {run.run_id for run in parents if experiment in {None, run.experiment}}

    return fold(candidates, limit, listed_parents)


def _no_match(store: TrackingStore, where: str, experiment: str | None) -> str:
    """Return a sentence that says of how many runs none matches, or "" if there are no runs."""
    found = [one for one in store.list_experiments() if experiment in {None, one.name}]
    number = sum(one.runs for one in found)
    runs = f"{number:,}+ runs" if any(one.has_more for one in found) else count(number, "run")
    place = f" in {experiment}" if experiment else ""
    return f"none of {runs}{place} matches {where.strip()}" if number else ""


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
        run=run,
        histories=histories,
        artifacts=artifacts,
        environment=_environment(store, run),
        notes=notes,
        score=score_of(run),
    )


def list_experiments(tracking_uri: str) -> ExperimentList:
    """Return all experiments, the one used last first."""
    return ExperimentList(TrackingStore(tracking_uri).list_experiments())


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


def _environment(store: TrackingStore, run: Run) -> dict[str, str]:
    environment = dict(read_environment(store, run))
    environment |= {
        key.removeprefix("mlctl."): value
        for key, value in run.tags.items()
        if key.startswith(ENVIRONMENT_PREFIXES)
    }
    environment |= {
        key.removeprefix("mlflow."): run.tags[key] for key in ENVIRONMENT_TAGS if run.tags.get(key)
    }
    return dict(sorted(environment.items()))
