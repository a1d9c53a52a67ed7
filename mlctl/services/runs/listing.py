"""Listing and showing runs and experiments."""

from __future__ import annotations

from collections.abc import Sequence

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.objective import lower_is_better
from mlctl.domain.run import Run, RunDetail
from mlctl.domain.run_queries import ExperimentList, Field, RunList, SortKey
from mlctl.errors import MlctlError, UsageError
from mlctl.services.runs import where as language
from mlctl.services.runs.fields import Names, sort_value, take
from mlctl.services.runs.select import find, kept, parse_objective

PUSHED_ATTRIBUTES = {"started", "status", "run_name"}
KEPT = ("best_", "test_")


def list_runs(
    tracking_uri: str,
    experiment: str | None = None,
    where: str | None = None,
    sort: str | None = None,
    columns: str | None = None,
    limit: int = 20,
) -> RunList:
    """Return the runs that match, in order, at most `limit` of them (0: all).

    The store filters and sorts as far as it can do so exactly; the rest is done here, page by page.
    """
    store = TrackingStore(tracking_uri)
    if not store.exists:
        return RunList(())
    store.experiment_ids(experiment)
    names = Names(store, experiment)
    wanted = (
        language.parse(where, names.resolve)
        if where and where.strip()
        else language.RunFilter(lambda _: True, ())
    )
    order = [_sort_key(one, names) for one in _split(sort)]
    chosen = [names.resolve(one, " (in --columns)") for one in _split(columns)]
    pushed = all(key.field.kind == "metric" or key.field.name in PUSHED_ATTRIBUTES for key in order)
    stops = limit if limit and pushed else 0
    expected = None if not stops else stops + 1 if where is None else max(100, stops + 1)
    stream = store.search(wanted.conditions, order if pushed else (), experiment, expected)
    matching = (run for run in stream if wanted.matches(run))
    found = take(matching, stops + 1) if stops else list(matching)
    if not pushed:
        for key in reversed(order):
            found = _sorted(found, key)
    shown = tuple(found[:limit] if limit else found)
    fields = tuple(chosen) or _columns(shown, order, wanted)
    return RunList(
        shown, fields, best_values(shown, fields), bool(limit and len(found) > limit), bool(chosen)
    )


def show(tracking_uri: str, selector: str, experiment: str | None = None) -> RunDetail:
    """Return a run with its histories, its artifacts and where it ran."""
    store = TrackingStore(tracking_uri)
    run = find(store, selector, experiment)
    histories = {
        name: tuple(value for _, value in store.history(run.run_id, name))
        for name in run.metrics
        if not name.startswith(KEPT)
    }
    notes: tuple[str, ...] = ()
    try:
        artifacts = store.artifacts(run)
    except MlctlError as error:  # what the store itself holds is worth showing without its files
        artifacts, notes = (), (f"artifacts cannot be listed: {error.message}",)
    return RunDetail(run, histories, artifacts, _environment(run), notes)


def list_experiments(tracking_uri: str) -> ExperimentList:
    """Return every experiment, the one used last first."""
    return ExperimentList(TrackingStore(tracking_uri).experiments())


def best_values(runs: Sequence[Run], fields: Sequence[Field]) -> dict[str, float]:
    """Return the best value of each metric that two runs or more have, by their objectives where they say."""
    ways = {}
    for run in runs:
        if objective := parse_objective(run.tags.get("mlctl.objective", "")):
            ways[objective.metric] = ways[kept(objective.metric)] = objective.maximize
    best = {}
    for field in fields:
        if field.kind != "metric" or field.name == "best_epoch":
            continue
        values = [
            value for run in runs if (value := run.metrics.get(field.name)) is not None and value == value
        ]
        if len(values) > 1 and min(values) != max(values):
            best[field.name] = (max if ways.get(field.name, not lower_is_better(field.name)) else min)(values)
    return best


def _split(text: str | None) -> list[str]:
    return [one.strip() for one in (text or "").split(",") if one.strip()]


def _sort_key(written: str, names: Names) -> SortKey:
    name = written.removeprefix("-").removeprefix("+")
    if not name:
        raise UsageError("--sort wants a name after the sign", "--sort -best_val_f1, or --sort started")
    return SortKey(names.resolve(name, " (in --sort)"), written.startswith("-"))


def _sorted(runs: list[Run], key: SortKey) -> list[Run]:
    present = [run for run in runs if sort_value(run, key.field)[0] < 2]
    absent = [run for run in runs if sort_value(run, key.field)[0] >= 2]
    present.sort(key=lambda run: sort_value(run, key.field), reverse=key.descending)
    absent.sort(key=lambda run: sort_value(run, key.field)[0])
    return present + absent


def _columns(runs: Sequence[Run], order: Sequence[SortKey], wanted: language.RunFilter) -> tuple[Field, ...]:
    """Return the fields worth a column: asked about, what kept models reached, and parameters that differ."""
    asked = [key.field for key in order] + [condition.field for condition in wanted.conditions]
    objectives = [parse_objective(run.tags.get("mlctl.objective", "")) for run in runs]
    reached = {name for run in runs for name in run.metrics if name.startswith(KEPT) and name != "best_epoch"}
    aims = dict.fromkeys(kept(one.metric) for one in objectives if one and kept(one.metric) in reached)
    # runs of other programs have only the last values, which are better than nothing
    others = {
        name for run in runs if not any(k.startswith(KEPT) for k in run.metrics) for name in run.metrics
    }
    metrics = [*aims, *sorted(reached, key=lambda name: (name.startswith("best_"), name)), *sorted(others)]
    params = dict.fromkeys(name for run in runs for name in run.params)
    differing = [name for name in params if len({run.params.get(name) for run in runs}) > 1]
    fields = [
        *(one for one in asked if one.kind != "attribute"),
        *(Field("metric", name) for name in metrics),
        *(Field("param", name) for name in differing),
    ]
    return tuple(dict.fromkeys(fields))


def _environment(run: Run) -> dict[str, str]:
    told = ("mlctl.machine.", "mlctl.version.", "mlctl.git.", "mlctl.precision", "mlctl.recipe_source")
    found = {key.removeprefix("mlctl."): value for key, value in run.tags.items() if key.startswith(told)}
    for key in ("mlflow.user", "mlflow.source.name", "mlflow.source.git.commit"):
        if run.tags.get(key):
            found[key.removeprefix("mlflow.")] = run.tags[key]
    return dict(sorted(found.items()))
