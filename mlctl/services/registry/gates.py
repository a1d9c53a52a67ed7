"""Gates: conditions that a version must meet before it is promoted, from the command line or mlctl.toml."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlctl.adapters.models.load import open_model
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.registry import GateCheck, RegisteredVersion
from mlctl.domain.run import Run
from mlctl.errors import BadDataError, NotFoundError, UsageError, did_you_mean
from mlctl.services.models.registry_state import RegistryState
from mlctl.services.models.select import version_reference
from mlctl.services.runs.metrics import is_model_metric, model_metric, objective_for
from mlctl.settings import Settings

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "=": operator.eq,
}
REQUIREMENT = re.compile(r"\s*([^<>=]+?)\s*(>=|<=|==|=|>|<)\s*(\S+)\s*")
SMOKE_TEST = "loads and answers its input example"


@dataclass(frozen=True, kw_only=True)
class Gates:
    """The gates of one promotion, as the user writes them on the command line.

    Attributes:
        require: Conditions such as "test_f1>=0.9".
        no_regress: Metrics, each with an optional tolerance, that must not be worse than the stage's holder's.
        evaluate: Recipe or data on which both versions are scored now.
        from_stage: Stage that the version must hold.
        smoke: The version must load and answer its input example.
    """

    require: tuple[str, ...] = ()
    no_regress: tuple[str, ...] = ()
    evaluate: str | None = None
    from_stage: str | None = None
    smoke: bool = False

    @classmethod
    def from_settings(cls, table: Mapping[str, Any]) -> Gates:
        """Return the gates of a model's table in mlctl.toml."""
        return cls(
            require=tuple(table.get("require", ())),
            no_regress=tuple(table.get("no_regress", ())),
            evaluate=table.get("evaluate"),
            from_stage=table.get("from"),
            smoke=table.get("smoke", False),
        )

    def merged_with(self, other: Gates) -> Gates:
        """Return both; these gates win if only one value is possible."""
        return Gates(
            require=tuple(dict.fromkeys((*self.require, *other.require))),
            no_regress=tuple(dict.fromkeys((*self.no_regress, *other.no_regress))),
            evaluate=self.evaluate or other.evaluate,
            from_stage=self.from_stage or other.from_stage,
            smoke=self.smoke or other.smoke,
        )

    def as_skipped(self) -> tuple[GateCheck, ...]:
        """Return these gates as checks that were skipped."""
        gates = [("require", text) for text in self.require]
        gates += [("no-regress", text) for text in self.no_regress]
        gates += [("evaluate", self.evaluate)] if self.evaluate else []
        gates += [("from", self.from_stage)] if self.from_stage else []
        gates += [("smoke", SMOKE_TEST)] if self.smoke else []
        return tuple(
            GateCheck(check=f"{gate} (skipped)", wanted=text, found=None, holds=True) for gate, text in gates
        )


@dataclass(frozen=True, kw_only=True)
class PromotionCandidate:
    """A version to promote, and the version that holds the stage.

    Attributes:
        state: The registered model.
        version: The version to promote.
        holder: The version that holds the stage, or None.
        run: Run that logged the version, or None.
        holder_run: Run that logged the holder, or None.
        measured: Metrics of the version on the data of --evaluate.
        holder_measured: Metrics of the holder on the same data.
    """

    state: RegistryState
    version: RegisteredVersion
    holder: RegisteredVersion | None
    run: Run | None
    holder_run: Run | None
    measured: Mapping[str, float] = field(default_factory=dict)
    holder_measured: Mapping[str, float] = field(default_factory=dict)

    def metric(self, name: str) -> float | None:
        """Return a metric of the version: measured now, or logged by its run."""
        return _metric(name, self.measured, self.run)

    def holder_metric(self, name: str) -> float | None:
        """Return a metric of the holder: measured now, or logged by its run."""
        return _metric(name, self.holder_measured, self.holder_run)


def model_metrics(run: Run | None) -> Mapping[str, float]:
    """Return the metrics of the model that a run logged.

    These are best_* and test_*, which mlctl logs, or all metrics if another program made the run.
    """
    if run is None:
        return {}
    own = {name: value for name, value in run.metrics.items() if is_model_metric(name)}
    return own or run.metrics


def run_of_version(store: TrackingStore, version: RegisteredVersion | None) -> Run | None:
    """Return the run that logged a version; None if there is none, or if it was deleted."""
    if version is None or not version.run_id:
        return None
    try:
        return store.get_run(version.run_id)
    except NotFoundError:
        return None


def run_checks(
    settings: Settings,
    store: TrackingStore,
    candidate: PromotionCandidate,
    gates: Gates,
    listener: ProgressListener,
) -> tuple[GateCheck, ...]:
    """Run every check and return all results, also those that do not hold. Raises UsageError for invalid gates."""
    requirements = [_parse_requirement(text) for text in gates.require]
    tolerances = [_parse_tolerance(text) for text in gates.no_regress]
    if gates.evaluate:
        candidate, deciding_metric = _evaluate(settings, store, candidate, gates.evaluate, listener)
        if not any(metric in candidate.measured for metric, _, _ in tolerances):
            tolerances.append((deciding_metric, 0.0, False))
    checks = [_check_requirement(candidate, *requirement) for requirement in requirements]
    checks += [_check_no_regress(candidate, *tolerance) for tolerance in tolerances]
    if gates.from_stage:
        checks.append(_check_from_stage(candidate, gates.from_stage))
    if gates.smoke:
        listener.stage(f"loading version {candidate.version.version}")
        checks.append(check_smoke(store, candidate.version))
    return tuple(checks)


def check_smoke(store: TrackingStore, version: RegisteredVersion) -> GateCheck:
    """Check that a version loads and answers its input example."""
    try:
        found, holds = answer_example(store, version.uri), True
    except (BadDataError, NotFoundError) as error:
        found, holds = error.message, False
    return GateCheck(check="smoke", wanted=SMOKE_TEST, found=found, holds=holds)


def answer_example(store: TrackingStore, uri: str) -> str:
    """Load a model and let it answer its input example; return a description of the answer.

    Raises BadDataError if the model does not load, has no example, or answers nothing or NaN.
    """
    from mlctl.data.trees import leaves  # it imports NumPy, which loading the model does anyway

    with open_model(store, uri) as model:
        example = model.input_example()
        if example is None:
            raise BadDataError(f"the model {uri} has no input example", "log it with input_example=…")
        answers = model.predict(example)
    arrays = leaves(answers)
    has_nan = any(array.dtype.kind == "f" and bool((array != array).any()) for array in arrays)
    if has_nan or not all(array.size for array in arrays):
        raise BadDataError(
            f"the model {uri} answers its input example with {'NaN' if has_nan else 'nothing'}",
            "register another model",
        )
    if isinstance(answers, dict):
        return "answers " + ", ".join(f"{name} {array.shape}" for name, array in answers.items())
    return f"answers {answers.shape}"


def _metric(name: str, measured: Mapping[str, float], run: Run | None) -> float | None:
    if name in measured:
        return measured[name]
    logged = model_metrics(run)
    return logged.get(name, logged.get(model_metric(name)))


def _parse_requirement(text: str) -> tuple[str, str, float]:
    """Return metric, operator and bound."""
    match = REQUIREMENT.fullmatch(text)
    try:
        if match:
            return match[1], match[2], float(match[3])
    except ValueError:
        pass
    raise UsageError(
        f"invalid value {text!r} for --require",
        "compare a metric with a number: --require 'best_val_f1>=0.89'",
    )


def _parse_tolerance(text: str) -> tuple[str, float, bool]:
    """Return metric, tolerance, and whether the tolerance is a fraction of the holder's metric (5%)."""
    metric, _, typed = text.partition(":")
    is_relative = typed.endswith("%")
    try:
        tolerance = float(typed.removesuffix("%")) if typed else 0.0
    except ValueError:
        tolerance = -1.0
    if not metric.strip() or not 0 <= tolerance < float("inf"):
        raise UsageError(
            f"invalid value {text!r} for --no-regress",
            "write METRIC or METRIC:TOLERANCE, such as --no-regress test_accuracy:0.005",
        )
    return metric.strip(), tolerance / 100 if is_relative else tolerance, is_relative


def _check_requirement(candidate: PromotionCandidate, metric: str, sign: str, bound: float) -> GateCheck:
    gate, wanted = f"require {metric}", f"{sign} {bound:g}"
    value = candidate.metric(metric)
    if value is None:
        return _missing_metric(candidate, gate, wanted, metric)
    return GateCheck(check=gate, wanted=wanted, found=value, holds=OPERATORS[sign](value, bound))


def _check_no_regress(
    candidate: PromotionCandidate, metric: str, tolerance: float, is_relative: bool
) -> GateCheck:
    gate, holder = f"no-regress {metric}", candidate.holder
    value = candidate.metric(metric)
    if value is None:
        return _missing_metric(candidate, gate, "a value", metric)
    if holder is None:
        return GateCheck(check=gate, wanted="no version holds the stage", found=value, holds=True)
    if holder.version == candidate.version.version:
        return GateCheck(check=gate, wanted="this version holds the stage", found=value, holds=True)
    holder_name, holder_value = f"version {holder.version}", candidate.holder_metric(metric)
    if holder_value is None:
        return GateCheck(check=gate, wanted=f"{holder_name} has no {metric}", found=value, holds=False)
    slack = abs(holder_value) * tolerance if is_relative else tolerance
    lower = not objective_for(metric, [candidate.run, candidate.holder_run]).maximize
    bound = holder_value + slack if lower else holder_value - slack
    return GateCheck(
        check=gate,
        wanted=f"{'<=' if lower else '>='} {bound:.6g} ({holder_name}: {holder_value:.6g})",
        found=value,
        holds=value <= bound if lower else value >= bound,
    )


def _missing_metric(candidate: PromotionCandidate, gate: str, wanted: str, metric: str) -> GateCheck:
    suggestion = did_you_mean(metric, [*candidate.measured, *model_metrics(candidate.run)])
    problem = f"{wanted}; the model has no {metric}" + (f", {suggestion}" if suggestion else "")
    return GateCheck(check=gate, wanted=problem, found=None, holds=False)


def _check_from_stage(candidate: PromotionCandidate, stage: str) -> GateCheck:
    state, number = candidate.state, candidate.version.version
    held = [name for name in state.history.holders if state.holder(name) == number]
    stages = list(dict.fromkeys([*held, candidate.version.stage]))
    holds = stage in stages or state.holder(stage) == number
    return GateCheck(check="from", wanted=stage, found=", ".join(stages), holds=holds)


def _evaluate(
    settings: Settings,
    store: TrackingStore,
    candidate: PromotionCandidate,
    source: str,
    listener: ProgressListener,
) -> tuple[PromotionCandidate, str]:
    """Score candidate and holder on the same data; return them with their metrics, and the deciding metric."""
    # most promotions evaluate nothing, and this imports NumPy and pandas
    from mlctl.services.evaluation.evaluate import ALL_ROWS, load_evaluation_set

    versions = [version for version in (candidate.version, candidate.holder) if version is not None]
    models = [version_reference(version) for version in versions]
    evaluation_set = load_evaluation_set(settings, store, source, listener=listener, models=models)
    # if no training used the data, all its rows are a test
    split = "test" if evaluation_set.split == ALL_ROWS else evaluation_set.split
    measured: list[dict[str, float]] = []
    for model in models:
        listener.stage(f"scoring version {model.version} on {split} rows of {source}")
        metrics = evaluation_set.evaluate(store, model).metrics
        # --no-regress test_accuracy means the value that is measured now, not the one that training logged
        measured.append({**metrics, **{f"{split}_{name}": value for name, value in metrics.items()}})
    deciding = evaluation_set.deciding_metric
    return (
        replace(candidate, measured=measured[0], holder_measured=measured[1] if candidate.holder else {}),
        deciding if deciding in measured[0] else next(iter(measured[0])),
    )
