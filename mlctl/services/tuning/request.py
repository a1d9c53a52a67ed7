"""What `mlctl tune` is asked to do, and the validated job that follows from it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mlctl.domain.cluster import Cluster
from mlctl.domain.hyperband import Bracket, count_trials, hyperband_brackets
from mlctl.domain.objective import Objective, parse_objective
from mlctl.domain.script import ScriptRequest
from mlctl.domain.script_flags import FLAG_STYLES, SPACE
from mlctl.domain.tune import Dimension
from mlctl.errors import UsageError
from mlctl.recipes import Recipe, ResolvedRecipe, Values
from mlctl.recipes.recipe import has_phases
from mlctl.services.models.names import check_name
from mlctl.services.recipes.defaults import with_defaults
from mlctl.services.recipes.prepare import check_values
from mlctl.services.training.request import TrainRequest
from mlctl.services.tuning.script_space import script_space
from mlctl.services.tuning.space import search_space, size
from mlctl.services.tuning.stopping import parse_stop_rule
from mlctl.services.tuning.trial_state import own_values
from mlctl.settings import Settings

SEARCH = "search"  # value of the parent run's tag mlctl.kind, and kind of the journal's first line
ALGORITHMS = ("random", "grid", "bayesian", "hyperband")
DEFAULT_TRIALS = 10
SCRIPT_OBJECTIVE = Objective("val_loss", maximize=False)


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """Options of `mlctl tune`.

    Args:
        source: a recipe's name, a recipe file, the user's own data, or a script.
        algorithm: one of ALGORITHMS.
        trials: the most trials; 0: DEFAULT_TRIALS, or all of hyperband's brackets.
        executions: trainings per trial; their mean counts.
        parallel: trials at once; 0: one per core.
        threads: threads per trial; 0: the cores divided by `parallel`.
        timeout_s: time for the search, without the final model.
        overrides: fixed values by name.
        space: what to search, by name; see services/tuning/space.py.
        objective: METRIC, min:METRIC or max:METRIC; None: the recipe's.
        stop: a stop rule; see services/tuning/stopping.py.
        finalists: number of top trials to retrain with early stopping.
        max_failures: failed trials in a row that end the search.
        script: the script of SOURCE, with its own arguments; None: SOURCE is a recipe or data.
        flag_style: how the script gets its values: one of FLAG_STYLES.

    """

    source: str
    algorithm: str = "random"
    trials: int = 0
    executions: int = 1
    parallel: int = 0
    threads: int = 0
    timeout_s: float | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
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
    script: ScriptRequest | None = None
    flag_style: str = SPACE

    def to_journal(self) -> dict[str, Any]:
        """Return the request as the first line of the search journal stores it."""
        of_script = set() if self.script else {"script", "flag_style"}
        entry = {
            "given" if name == "overrides" else name: value
            for name, value in asdict(self).items()
            if name not in of_script
        }
        if self.cluster:  # earlier versions do not know it, and each trial has one worker
            del entry["cluster"]["workers"]
        return entry

    @classmethod
    def from_journal(cls, entry: Mapping[str, Any]) -> TuneRequest:
        """Return the request that `to_journal` stored, in this or an earlier version."""
        fields = {"overrides" if name == "given" else name: value for name, value in entry.items()}
        cluster, script = fields.get("cluster"), fields.get("script")
        fields["cluster"] = Cluster(**cluster) if cluster else None
        fields["script"] = ScriptRequest.from_tag(script) if script else None
        return cls(**fields)

    def train_request(self) -> TrainRequest:
        """Return the request that the search's own run records, as the final model's training."""
        return TrainRequest(
            source=self.source,
            overrides=self.overrides,
            data=self.data,
            rows=self.rows,
            seed=self.seed,
            precision=self.precision,
            run_name=self.run_name,
            tags=self.tags,
            register=self.register,
        )


@dataclass(frozen=True, kw_only=True)
class TuneJob(ABC):
    """A validated request: what is searched, what is fixed, and the objective.

    `default_trials` says that the user has given no number of trials. `phase_epochs` is the number of epochs of a
    recipe's phases, which is known once the data is loaded.
    """

    request: TuneRequest
    dimensions: tuple[Dimension, ...]
    fixed: Mapping[str, Any]
    objective: Objective
    default_trials: bool = False
    phase_epochs: int | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """The name of the recipe or script whose values are searched."""

    @property
    @abstractmethod
    def max_epochs(self) -> int:
        """The most epochs that a trial has; 0 if it is not known."""

    @property
    def brackets(self) -> tuple[Bracket, ...]:
        """Hyperband's brackets; empty for the other algorithms."""
        return hyperband_brackets(self.max_epochs) if self.request.algorithm == "hyperband" else ()

    def values_of_trial(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all values of a trial."""
        return {**self.fixed, **own_values(values)}

    @property
    def max_trials(self) -> int:
        """The most trials that the search has."""
        return int(min(self.request.trials, count_trials(self.brackets) or size(self.dimensions)))


@dataclass(frozen=True, kw_only=True)
class RecipeJob(TuneJob):
    """A search of a recipe's values."""

    resolved: ResolvedRecipe
    values: Values

    @property
    def recipe(self) -> Recipe:
        """The recipe whose values are searched."""
        return self.resolved.recipe

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.recipe.name

    @property
    def max_epochs(self) -> int:
        """The most epochs that a trial has."""
        if self.phase_epochs is not None:
            return self.phase_epochs
        if "epochs" in self.fixed:
            return int(self.fixed["epochs"])
        epochs = next(dimension for dimension in self.dimensions if dimension.name == "epochs")
        return int(max(epochs.choices) if epochs.choices else epochs.high)

    def values_of_trial(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return all values of a trial; without the epochs if only the recipe's phases set them."""
        of_trial = super().values_of_trial(values)
        if self.phase_epochs is not None and "epochs" not in {
            *self.request.overrides,
            *self.request.space,
        }:
            del of_trial["epochs"]
        return of_trial


@dataclass(frozen=True, kw_only=True)
class ScriptJob(TuneJob):
    """A search of the values of a script's arguments."""

    script: ScriptRequest

    @property
    def name(self) -> str:
        """The script's name."""
        return self.script.name

    @property
    def max_epochs(self) -> int:
        """The epochs of --epochs; the script's own are not known."""
        return self.script.epochs or 0


def trials_in_journal(entries: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of trials that a search was started with, or that its last resume has set."""
    added = [entry["trials"] for entry in entries if entry["kind"] == "more"]
    return int(added[-1] if added else entries[0]["request"]["trials"])


def apply_defaults(settings: Settings, request: TuneRequest, resolved: ResolvedRecipe) -> TuneRequest:
    """Return the request with the recipe's defaults of mlctl.toml, except for values that are searched."""
    defaults = with_defaults(settings, resolved.recipe, {})
    if not defaults:
        return request
    dimensions, _ = search_space(resolved.recipe, request.overrides, request.space)
    searched = {dimension.name for dimension in dimensions}.union(request.space)
    defaults = {name: value for name, value in defaults.items() if name not in searched}
    return replace(request, overrides={**defaults, **request.overrides})


def validate(request: TuneRequest, resolved: ResolvedRecipe) -> RecipeJob:
    """Check a request for a recipe before any heavy library is imported; raises UsageError."""
    _check_options(request)
    values = check_values(resolved, request.overrides)
    dimensions, fixed = search_space(resolved.recipe, request.overrides, request.space)
    job = RecipeJob(
        request=request,
        resolved=resolved,
        values=values,
        dimensions=dimensions,
        fixed=fixed,
        objective=parse_objective(request.objective) if request.objective else resolved.recipe.objective,
        default_trials=not request.trials,
    )
    if request.algorithm == "hyperband" and "epochs" not in fixed:
        raise UsageError("hyperband sets the epochs itself", "remove --space epochs=…")
    return replace(job, request=_check_search(job))


def with_phases(job: RecipeJob, epochs: int) -> RecipeJob:
    """Return the search of a recipe whose phases have so many epochs; hyperband's brackets follow from them.

    Raises UsageError if the space is too small for these brackets.
    """
    job = replace(job, phase_epochs=epochs)
    if job.request.algorithm == "hyperband":
        _check_hyperband(job)
    if not job.default_trials:
        return job
    return replace(job, request=replace(job.request, trials=count_trials(job.brackets) or DEFAULT_TRIALS))


def validate_script(request: TuneRequest) -> ScriptJob:
    """Check a request for a script; raises UsageError."""
    script = request.script
    assert script is not None
    _check_options(request)
    if request.flag_style not in FLAG_STYLES:
        raise UsageError(
            f"there is no flag style {request.flag_style!r}", f"there are: {', '.join(FLAG_STYLES)}"
        )
    if request.cluster is not None:
        raise UsageError(
            "a search of a script runs on this machine",
            "remove --cluster; mlctl train --cluster runs a script on a cluster",
        )
    if request.finalists > 1:
        raise UsageError("the final model of a script is trained once", "remove --finalists")
    if request.algorithm == "hyperband" and not script.epochs:
        raise UsageError(
            "hyperband sets the epochs itself, and needs the most epochs of a trial",
            "add --epochs 27: it replaces the epochs that the script gives to fit",
        )
    dimensions, fixed = script_space(request.space, script.arguments)
    job = ScriptJob(
        request=request,
        script=script,
        dimensions=dimensions,
        fixed=fixed,
        objective=parse_objective(request.objective) if request.objective else SCRIPT_OBJECTIVE,
        default_trials=not request.trials,
    )
    return replace(job, request=_check_search(job))


def _check_options(request: TuneRequest) -> None:
    if request.algorithm not in ALGORITHMS:
        raise UsageError(
            f"there is no algorithm {request.algorithm!r}", f"there are: {', '.join(ALGORITHMS)}"
        )
    if request.timeout_s is not None and request.timeout_s <= 0:
        raise UsageError("--timeout leaves no time to search", "write it as 90s, 10m or 2h, or remove it")
    if request.register is not None:
        check_name(request.register)


def _check_search(job: TuneJob) -> TuneRequest:
    """Check the algorithm and the stop rule; return the request with its number of trials."""
    request = job.request
    if request.stop:
        parse_stop_rule(request.stop, job.objective)
    if request.algorithm == "hyperband":
        _check_hyperband(job)
    if request.algorithm == "grid":
        _check_grid(job)
    return replace(request, trials=request.trials or count_trials(job.brackets) or DEFAULT_TRIALS)


def _check_hyperband(job: TuneJob) -> None:
    if job.request.stop:
        raise UsageError("hyperband stops trials by itself", "remove --stop")
    if job.request.executions > 1:
        raise UsageError(
            "hyperband continues from a trial's weights, so a trial has one execution",
            "remove --executions-per-trial",
        )
    if isinstance(job, RecipeJob) and has_phases(job.recipe) and job.phase_epochs is None:
        return  # its epochs are not known yet
    first_trials, combinations = job.brackets[0][0].trials, size(job.dimensions)
    if combinations < first_trials:
        raise UsageError(
            f"hyperband begins with {first_trials} trials, and the space has {combinations:.0f} combinations",
            "widen --space, lower --epochs, or try all of them: --algorithm grid",
        )


def _check_grid(job: TuneJob) -> None:
    for dimension in job.dimensions:
        if not math.isfinite(dimension.size) or (dimension.log and not dimension.choices):
            name, low, high = dimension.name, dimension.low, dimension.high
            raise UsageError(
                f"a grid needs steps, and {name} has none: {dimension.text}",
                f"--space {name}={low:g}|{high:g} lists values, --space {name}=LOW..HIGH:STEP sets a step",
            )
