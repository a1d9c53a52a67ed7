"""mlctl automl: several families of models on one table, their blend, one model to serve."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mlctl.adapters.runlog import search_journal
from mlctl.adapters.system import extras
from mlctl.adapters.tracking.health import check_reachable
from mlctl.domain.automl import Automl, AutomlPlan
from mlctl.domain.objective import Objective, lower_is_better
from mlctl.domain.run import Run
from mlctl.domain.tune import SearchListener
from mlctl.errors import NotFoundError, RefusedError, UsageError
from mlctl.recipes import Recipe
from mlctl.services.automl import metrics, models
from mlctl.services.models.names import check_name
from mlctl.services.recipes import prepare
from mlctl.services.recipes.defaults import with_defaults
from mlctl.settings import Settings

AUTOML = "automl"  # what the tag mlctl.kind says of the parent run
EXTRA = ("lightgbm", "optuna")
LEAST_S = 5.0


@dataclass(frozen=True)
class AutomlRequest:
    """What `mlctl automl` was asked for; `given` holds the recipe's values and FAMILY.NAME ones alike."""

    source: str
    timeout_s: float = 60.0
    metric: str | None = None
    families: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    featurize: bool = True
    data: str | None = None
    rows: int | None = None
    seed: int = 0
    run_name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    register: str | None = None


@dataclass(frozen=True)
class AutomlJob:
    """A request made sense of: the recipe with its values, the families, what is set on each of them."""

    request: AutomlRequest
    recipe: Recipe
    values: Mapping[str, Any]
    families: tuple[str, ...]
    fixed: Mapping[str, Mapping[str, Any]]


def automl(settings: Settings, request: AutomlRequest, listener: SearchListener) -> Automl:
    """Fit, blend and log; ends when time is up, or when there is nothing left to try.

    Raises UsageError for what was asked, ConfigurationError where the extra is missing, ChildFailedError where no
    model could be fitted, Interrupted on Ctrl-C, after the best so far was logged.
    """
    started = time.monotonic()
    request = replace(request, given=with_defaults(settings, request.source, request.given))
    asked = understood(request)
    check_reachable(settings.tracking_uri)
    return _raced(settings, asked, listener, started, None, ())


def resume(settings: Settings, run: Run, listener: SearchListener) -> Automl:
    """Go on in the same run for the time that is left: what was fitted is kept.

    Raises NotFoundError where the journal is not on this machine, RefusedError where the data is another.
    """
    started = time.monotonic()
    path = settings.state_dir / "runs" / run.run_id / search_journal.NAME
    if not path.exists():
        raise NotFoundError(
            f"the journal of {run.run_name} is not on this machine", "resume it on the machine that began it"
        )
    entries = tuple(search_journal.read(path))
    if not entries or entries[0]["kind"] != AUTOML:
        raise NotFoundError(f"run {run.run_name} fitted nothing yet", "begin anew: mlctl automl")
    asked = understood(AutomlRequest(**entries[0]["request"]))
    return _raced(replace(settings, experiment=run.experiment), asked, listener, started, run, entries)


def plan(settings: Settings, request: AutomlRequest) -> AutomlPlan:
    """Return what would be tried, having read no data."""
    request = replace(request, given=with_defaults(settings, request.source, request.given))
    asked = understood(request)
    recipe, task = asked.recipe, _task(asked.recipe)
    notes: tuple[str, ...] = ()
    metric = request.metric or recipe.objective.metric.removeprefix("val_")
    if task == "auto":
        task = "regression" if metric in metrics.OF_NUMBERS else "classes"
        notes = ("the table itself says, when it is read, whether it holds classes or numbers",)
    specs = models.line_up(
        recipe, task, positive=True, rows=100_000, wanted=asked.families, fixed=asked.fixed, metric=metric
    )
    goal = Objective(f"val_{metric}", not lower_is_better(metric)) if request.metric else None
    return AutomlPlan(
        recipe.name, goal, request.timeout_s, request.featurize,
        tuple((one.name, one.family, {name: value for name, value in one.told.items() if name != "family"}) for one in specs),
        notes,
    )  # fmt: skip


def understood(request: AutomlRequest) -> AutomlJob:
    """Check a request before anything heavy is imported; raises UsageError, NotFoundError, ConfigurationError."""
    if request.register is not None:
        check_name(request.register)
    if request.metric is not None:
        metrics.check(request.metric)
    if request.timeout_s < LEAST_S:
        raise UsageError(f"--timeout {request.timeout_s:g}s is too short", f"give it {LEAST_S:g}s at least")
    families = models.chosen(request.families)
    own, fixed = models.divided(request.given)
    recipe, values = prepare.recipe_values(request.source, own)
    for family in fixed:
        if family not in families:
            raise UsageError(f"--set {family}.… is for a family that is left out", "add it to --families")
    recipe.values({name: value for name, value in fixed.get(models.NETWORK, {}).items() if name != "seed"})
    for module in EXTRA:
        extras.demand(module, "automl", "mlctl automl")
    return AutomlJob(request, recipe, values, families, fixed)


def request_entry(request: AutomlRequest) -> dict[str, Any]:
    """Return a request as the journal's first line holds it."""
    return asdict(request)


def _task(recipe: Recipe) -> str:
    return "auto" if recipe.name == "tabular" else (
        "regression" if lower_is_better(recipe.objective.metric) and recipe.objective.metric != "val_loss" else "classes"
    )  # fmt: skip


def _raced(
    settings: Settings,
    asked: AutomlJob,
    listener: SearchListener,
    started: float,
    run: Run | None,
    entries: Any,
) -> Automl:
    request = asked.request
    values: Any = asked.values
    prepared = prepare.prepare(settings, asked.recipe, values, request.data, request.rows, listener)
    if not prepared.data.is_table:
        raise UsageError(
            f"automl is for tables, and {asked.recipe.name} has none",
            f"mlctl tune {request.source} searches its network",
        )
    if run and run.data and run.data.sha256 != prepared.data.sha256:
        raise RefusedError("the data has changed since this run began", "begin a new one: mlctl automl")
    metrics.objective(
        request.metric, asked.recipe.objective, len(prepared.data.classes)
    )  # before all that takes time
    listener.stage("starting LightGBM, TensorFlow and MLflow")
    # threads that spin while they wait for a core make a busy machine ten times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from mlctl.adapters.keras import runtime

    runtime.import_keras()
    with runtime.frugal_imports():
        from mlctl.services.automl.run import AutomlRun

    raced = AutomlRun(settings, asked, prepared, listener, started, run, entries).run()
    if not request.register:
        return raced
    from mlctl.services.registry import register

    made = register.after_training(settings, raced.run, request.register, listener)
    return replace(raced, run=replace(raced.run, registered=f"{made.name}/{made.version}"))
