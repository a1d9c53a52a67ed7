"""mlctl tune: many trainings of one recipe, and the model of the best values."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mlctl.adapters.runlog.journal import Journal
from mlctl.adapters.tracking.health import check_reachable
from mlctl.domain.cluster import Cluster
from mlctl.domain.hyperband import Bracket, brackets, first_of, trials_of
from mlctl.domain.objective import Objective, lower_is_better
from mlctl.domain.run import Run
from mlctl.domain.tune import Dimension, Search, SearchListener, SearchPlan
from mlctl.errors import NotFoundError, RefusedError, UsageError
from mlctl.recipes import Recipe
from mlctl.services import clusters
from mlctl.services.models.names import check_name
from mlctl.services.recipes import prepare
from mlctl.services.recipes.defaults import with_defaults
from mlctl.services.training import changes
from mlctl.services.tuning.space import size, space
from mlctl.services.tuning.stopping import rule
from mlctl.settings import Settings

ALGORITHMS = ("random", "grid", "bayesian", "hyperband")
KIND_TAG, SEARCH = "mlctl.kind", "search"
USUAL_TRIALS = 10


@dataclass(frozen=True)
class SearchRequest:
    """What `mlctl tune` was asked for.

    `given` fixes values, `space` says what is searched (see services/tuning/space.py); of `trials`, 0 stands for
    USUAL_TRIALS, or for all of hyperband's brackets; `parallel` trials run at once
    (0: one a core), each with `threads` threads (0: the cores shared out); `objective` None is the recipe's.
    """

    source: str
    algorithm: str = "random"
    trials: int = 0
    executions: int = 1
    parallel: int = 1
    threads: int = 0
    timeout_s: float | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, str] = field(default_factory=dict)
    objective: str | None = None
    stop: str | None = None
    finalists: int = 1
    max_failures: int = 3
    data: str | None = None
    rows: int | None = None
    seed: int = 0
    precision: str = "auto"
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    register: str | None = None
    cluster: Cluster | None = None


@dataclass(frozen=True)
class TuneJob:
    """A request made sense of: the recipe, what is searched, what is fixed, what is optimised."""

    request: SearchRequest
    recipe: Recipe
    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Any]
    objective: Objective


def tune(settings: Settings, request: SearchRequest, listener: SearchListener) -> Search:
    """Search, then train and log the model of the best values.

    Raises UsageError for what was asked, ChildFailedError after too many failed trials in a row, Interrupted
    on Ctrl-C: `resume` goes on with either.
    """
    request = _with_defaults(settings, request)
    asked = understood(request)
    check_reachable(settings.tracking_uri)
    if request.cluster is not None:
        clusters.demand(request.cluster)
    asked, prepared = _prepared(settings, asked, listener)
    return _registered(
        settings, request, _searching(listener)(settings, asked, prepared, listener).run(), listener
    )


def resume(
    settings: Settings, run: Run, listener: SearchListener, trials: int | None = None, force: bool = False
) -> Search:
    """Go on with a search in the same parent run, for what is left of its time: finished trials are kept, running

    ones begin again. `trials` raises how many there are.

    Raises NotFoundError where the search's journal is not on this machine, RefusedError where it is finished, or
    where data, code or versions have changed (`force` records what has, and goes on).
    """
    from mlctl.adapters.runlog import search_journal

    if run.status == "FINISHED":
        raise RefusedError(
            f"search {run.run_name} is finished, and its run holds the model of its best trial",
            f"begin a new one with more trials: mlctl tune {run.recipe} --trials N",
        )
    folder = settings.state_dir / "runs" / run.run_id
    entries = list(search_journal.read(_journal(run, folder)))
    if not entries or entries[0]["kind"] != SEARCH:
        raise NotFoundError(f"run {run.run_name} is no search", "mlctl runs list shows what it is")
    request = _request(entries[0]["request"])
    for entry in entries:
        if entry["kind"] == "more":
            request = replace(request, trials=entry["trials"])
    if trials is not None and trials < request.trials:
        raise UsageError(
            f"the search has {request.trials} trials, and --trials {trials} is fewer",
            "leave --trials out, or raise it",
        )
    if trials and _has_values(folder):
        raise RefusedError(
            f"the final model of search {run.run_name} is trained, and the run has its values",
            f"finish it: mlctl resume {run.run_id[:8]}; then begin a new one with more trials",
        )
    changed: list[str] = []
    source = changes.recipe_source(settings, run, request.source, folder, changed)
    changed += changes.versions_changed(run)
    asked = understood(replace(request, source=source, trials=trials or request.trials))
    if request.cluster is not None:
        clusters.demand(request.cluster)
    settings = replace(settings, experiment=run.experiment)
    asked, prepared = _prepared(settings, asked, listener)
    tags = changes.accepted(changed + changes.data_changed(run, prepared), force, listener)
    searching = _searching(listener)(settings, asked, prepared, listener, run, entries, tags)
    return _registered(settings, request, searching.run(), listener)


def plan(settings: Settings, request: SearchRequest) -> SearchPlan:
    """Return what a search would do, its first trials included, having trained nothing."""
    asked = understood(_with_defaults(settings, request))
    request = asked.request
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    from mlctl.adapters.search.oracles import Oracle

    oracle = Oracle(
        request.algorithm, asked.dimensions, asked.objective, request.trials, request.seed, epochs_of(asked)
    )
    first: list[Mapping[str, Any]] = []
    while len(first) < 3 and not isinstance(answer := oracle.ask(), str):
        first.append(answer[1])
    notes = (
        []
        if "epochs" in asked.fixed
        else ["epochs are searched: the count of epochs is the most there can be"]
    )
    trials = most_trials(asked)
    epochs, planned = trials * request.executions * epochs_of(asked), _brackets(asked)
    if planned:
        first_ones = first_of(planned, trials)
        epochs = sum(rung.trained for bracket in first_ones for rung in bracket)
        if trials < trials_of(planned):
            notes.append(f"all brackets have {trials_of(planned)} trials: leave --trials out for them")
        planned = first_ones
    return SearchPlan(
        asked.recipe.name, request.algorithm, asked.objective, asked.dimensions, asked.fixed, size(asked.dimensions),
        trials, tuple(first), epochs, tuple(notes), planned,
    )  # fmt: skip


def understood(request: SearchRequest) -> TuneJob:
    """Check a request; raises UsageError and NotFoundError, before anything heavy is imported."""
    if request.algorithm not in ALGORITHMS:
        raise UsageError(
            f"there is no algorithm {request.algorithm!r}", f"there are: {', '.join(ALGORITHMS)}"
        )
    if request.timeout_s is not None and request.timeout_s <= 0:
        raise UsageError("--timeout leaves no time to search", "write it as 90s, 10m or 2h, or leave it out")
    if request.register is not None:
        check_name(request.register)
    recipe, _ = prepare.recipe_values(request.source, request.given)
    dimensions, fixed = space(recipe, request.given, request.space)
    objective = _objective(recipe, request.objective)
    if request.stop:
        if request.algorithm == "hyperband":
            raise UsageError("hyperband stops trials by itself", "leave --stop out")
        rule(request.stop, objective)
    if request.algorithm == "hyperband" and "epochs" not in fixed:
        raise UsageError("hyperband sets the epochs itself", "leave --space epochs=… out")
    if request.algorithm == "hyperband" and request.executions > 1:
        raise UsageError("hyperband goes on from a trial's weights, so a trial has one execution",
                         "leave --executions-per-trial out")  # fmt: skip
    if request.algorithm == "grid":
        for one in dimensions:
            if not math.isfinite(one.size) or (one.log and not one.choices):
                raise UsageError(
                    f"a grid needs steps, and {one.name} has none: {one.words}",
                    f"--space {one.name}={one.low:g}|{one.high:g} names values, LOW..HIGH:STEP steps",
                )
    asked = TuneJob(request, recipe, dimensions, fixed, objective)
    found, whole = _brackets(asked), size(dimensions)
    if found and whole < found[0][0].trials:
        raise UsageError(
            f"hyperband begins with {found[0][0].trials} trials, and the space has {whole:.0f} combinations",
            "widen --space, set fewer --epochs, or walk it all: --algorithm grid",
        )
    trials = request.trials or trials_of(found) or USUAL_TRIALS
    return replace(asked, request=replace(request, trials=trials))


def most_trials(asked: TuneJob) -> int:
    """Return how many trials a search has at most."""
    return int(min(asked.request.trials, trials_of(_brackets(asked)) or size(asked.dimensions)))


def _brackets(asked: TuneJob) -> tuple[Bracket, ...]:
    """Return hyperband's brackets, and of other algorithms none."""
    return brackets(epochs_of(asked)) if asked.request.algorithm == "hyperband" else ()


def _with_defaults(settings: Settings, request: SearchRequest) -> SearchRequest:
    """Return the request with what mlctl.toml has for its recipe, but for values that are searched."""
    told = with_defaults(settings, request.source, {})
    if not told:
        return request
    recipe, _ = prepare.recipe_values(request.source, request.given)
    searched = {one.name for one in space(recipe, request.given, request.space)[0]}.union(request.space)
    fixed = {name: value for name, value in told.items() if name not in searched}
    return replace(request, given={**fixed, **request.given})


def epochs_of(asked: TuneJob) -> int:
    """Return the most epochs that a trial has."""
    if "epochs" in asked.fixed:
        return int(asked.fixed["epochs"])
    found = next(one for one in asked.dimensions if one.name == "epochs")
    return int(max(found.choices) if found.choices else found.high)


def request_entry(request: SearchRequest) -> dict[str, Any]:
    """Return a request as the journal's first line holds it."""
    return asdict(request)


def _request(entry: Mapping[str, Any]) -> SearchRequest:
    """Return the request that `request_entry` made an entry of."""
    cluster = entry.get("cluster")
    return SearchRequest(**{**entry, "cluster": Cluster(**cluster) if cluster else None})


def _objective(recipe: Recipe, text: str | None) -> Objective:
    if text is None:
        return recipe.objective
    way, colon, metric = text.partition(":")
    if not colon:
        return Objective(text, not lower_is_better(text))
    if way not in {"min", "max"} or not metric:
        raise UsageError(f"--objective {text} has no direction", "write min:val_mae or max:val_accuracy")
    return Objective(metric, way == "max")


def _prepared(
    settings: Settings, asked: TuneJob, listener: SearchListener
) -> tuple[TuneJob, prepare.PreparedData]:
    """Return the data with the recipe's own values, which trials then change: the encoder knows none of them.

    A table of a user's own has an objective only once it has been looked at.
    """
    _, values = prepare.recipe_values(asked.request.source, asked.request.given)
    request = asked.request
    prepared = prepare.prepare(settings, asked.recipe, values, request.data, request.rows, listener)
    if request.objective is None:
        asked = replace(asked, objective=asked.recipe.objective)
    return asked, prepared


def _registered(
    settings: Settings, request: SearchRequest, search: Search, listener: SearchListener
) -> Search:
    """Register the final model where that was asked for."""
    if not request.register:
        return search
    from mlctl.services.registry import register

    made = register.after_training(settings, search.run, request.register, listener)
    return replace(search, run=replace(search.run, registered=f"{made.name}/{made.version}"))


def _searching(listener: SearchListener) -> Any:
    listener.stage("starting TensorFlow and MLflow")
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.frugal_imports():
        from mlctl.services.tuning.search import TuneRun

    return TuneRun


def _has_values(folder: Path) -> bool:
    """Whether a search's run has the parameters of a final model, which MLflow lets nobody change."""
    with contextlib.closing(Journal(folder)) as record:
        return any(entry["kind"] == "params" for entry in record.entries())


def _journal(run: Run, folder: Path) -> Path:
    """Return a search's journal, which is on the machine that began it."""
    from mlctl.adapters.runlog import search_journal

    own = folder / search_journal.NAME
    if not own.exists():
        raise NotFoundError(
            f"the journal of {run.run_name} is not on this machine", "resume it on the machine that began it"
        )
    return own
