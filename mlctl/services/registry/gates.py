"""Gates: what a version must show before it is promoted, typed or kept in mlctl.toml."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlctl.adapters.models.load import loaded
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.objective import lower_is_better
from mlctl.domain.progress import ProgressListener
from mlctl.domain.registry import Check, ModelReference, RegisteredVersion
from mlctl.domain.run import Run
from mlctl.errors import BadDataError, NotFoundError, UsageError, did_you_mean
from mlctl.services.evaluation import evaluate
from mlctl.services.models.registry_state import RegistryState
from mlctl.services.runs import select
from mlctl.settings import Settings

COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq, "=": operator.eq,
}  # fmt: skip
REQUIRE = re.compile(r"\s*([^<>=]+?)\s*(>=|<=|==|=|>|<)\s*(\S+)\s*")
KEPT = ("best_", "test_")


@dataclass(frozen=True)
class Gates:
    """The gates of one promotion, as they are written on the command line."""

    require: tuple[str, ...] = ()
    no_regress: tuple[str, ...] = ()
    evaluate: str | None = None
    from_stage: str | None = None
    smoke: bool = False

    @classmethod
    def kept(cls, table: Mapping[str, Any]) -> Gates:
        """Return the gates of a model's table in mlctl.toml."""
        return cls(
            tuple(table.get("require", ())), tuple(table.get("no_regress", ())), table.get("evaluate"),
            table.get("from"), table.get("smoke", False),
        )  # fmt: skip

    def with_(self, other: Gates) -> Gates:
        """Return both; where one alone can be, this one's."""
        return Gates(
            tuple(dict.fromkeys((*self.require, *other.require))),
            tuple(dict.fromkeys((*self.no_regress, *other.no_regress))),
            self.evaluate or other.evaluate,
            self.from_stage or other.from_stage,
            self.smoke or other.smoke,
        )

    def skipped(self) -> tuple[Check, ...]:
        """Return these gates as checks that were not made."""
        texts = [("require", one) for one in self.require] + [("no-regress", one) for one in self.no_regress]
        texts += [("evaluate", self.evaluate)] if self.evaluate else []
        texts += [("from", self.from_stage)] if self.from_stage else []
        texts += [("smoke", "answers its input example")] if self.smoke else []
        return tuple(Check(f"{kind} (skipped)", str(text), None, True) for kind, text in texts)


@dataclass(frozen=True)
class Candidate:
    """A version that is to be promoted, and the one that holds the stage."""

    standing: RegistryState
    version: RegisteredVersion
    holder: RegisteredVersion | None
    run: Run | None
    held_run: Run | None
    fresh: Mapping[str, float] = field(default_factory=dict)
    held_fresh: Mapping[str, float] = field(default_factory=dict)

    def figure(self, metric: str, of_holder: bool = False) -> float | None:
        """Return what the kept model of a version reached: measured now, or when it was trained."""
        run = self.held_run if of_holder else self.run
        fresh = self.held_fresh if of_holder else self.fresh
        if metric in fresh:
            return fresh[metric]
        reached = kept_metrics(run)
        return reached.get(metric, reached.get(select.kept(metric)))

    @property
    def known(self) -> list[str]:
        """The names of all metrics of the candidate."""
        return [*self.fresh, *kept_metrics(self.run)]


def kept_metrics(run: Run | None) -> Mapping[str, float]:
    """Return what the kept model of a run reached; all metrics, where another program made the run."""
    if run is None:
        return {}
    kept = {name: value for name, value in run.metrics.items() if name.startswith(KEPT)}
    return kept or run.metrics


def run_of(store: TrackingStore, version: RegisteredVersion | None) -> Run | None:
    """Return the run that made a version; None where there is none, or none any more."""
    if version is None or not version.run_id:
        return None
    try:
        return store.run(version.run_id)
    except NotFoundError:
        return None


def checked(
    settings: Settings, store: TrackingStore, standing: RegistryState, version: RegisteredVersion,
    holder: RegisteredVersion | None, run: Run | None, gates: Gates, listener: ProgressListener,
) -> tuple[Check, ...]:  # fmt: skip
    """Make every check, and return them all, whether they hold or not."""
    wanted = [_requirement(one) for one in gates.require]
    tolerated = [_tolerance(one) for one in gates.no_regress]
    candidate = Candidate(standing, version, holder, run, run_of(store, holder))
    if gates.evaluate:
        candidate, objective = _measured(settings, store, candidate, gates.evaluate, listener)
        if not any(metric in candidate.fresh for metric, _, _ in tolerated):
            tolerated.append((objective, 0.0, False))
    checks = [_required(candidate, *one) for one in wanted]
    checks += [_not_worse(candidate, *one) for one in tolerated]
    if gates.from_stage:
        checks.append(_from(candidate, gates.from_stage))
    if gates.smoke:
        listener.stage(f"loading version {version.version}")
        checks.append(smoke(store, version))
    return tuple(checks)


def smoke(store: TrackingStore, version: RegisteredVersion) -> Check:
    """Return whether a version loads and answers its input example."""
    wanted = "loads and answers its input example"
    try:
        return Check("smoke", wanted, answers_example(store, version.uri), True)
    except (BadDataError, NotFoundError) as error:
        return Check("smoke", wanted, error.message, False)


def answers_example(store: TrackingStore, uri: str) -> str:
    """Load a model and have it answer its input example; return in words what it answered.

    Raises BadDataError where it does not load, has no example, or answers what is no answer.
    """
    with loaded(store, uri) as found:
        example = found.example()
        if example is None:
            raise BadDataError(f"the model {uri} has no input example", "log it with one: input_example=…")
        answers = found.answer(example)
    bad = answers.dtype.kind == "f" and (answers != answers).any()
    if not answers.size or bad:
        raise BadDataError(
            f"the model {uri} answers its input example with {'NaN' if bad else 'nothing'}",
            "register another",
        )
    return f"answers {answers.shape}"


def _requirement(text: str) -> tuple[str, str, float]:
    match = REQUIRE.fullmatch(text)
    try:
        if match:
            return match[1], match[2], float(match[3])
    except ValueError:
        pass
    raise UsageError(
        f"--require {text!r} compares nothing with a number", "write --require 'best_val_f1>=0.89'"
    )


def _tolerance(text: str) -> tuple[str, float, bool]:
    """Return metric, tolerance, and whether it is a share of the holder's figure (5%)."""
    metric, _, typed = text.partition(":")
    relative = typed.endswith("%")
    try:
        tolerance = float(typed.removesuffix("%")) if typed else 0.0
    except ValueError:
        tolerance = -1.0
    if not metric.strip() or not 0 <= tolerance < float("inf"):
        raise UsageError(
            f"--no-regress {text!r} is no METRIC or METRIC:TOLERANCE",
            "write --no-regress test_accuracy:0.005",
        )
    return metric.strip(), tolerance / 100 if relative else tolerance, relative


def _required(candidate: Candidate, metric: str, sign: str, bound: float) -> Check:
    found = candidate.figure(metric)
    if found is None:
        return _absent(candidate, f"require {metric}", f"{sign} {bound:g}", metric)
    return Check(f"require {metric}", f"{sign} {bound:g}", found, COMPARE[sign](found, bound))


def _not_worse(candidate: Candidate, metric: str, tolerance: float, relative: bool) -> Check:
    name = f"no-regress {metric}"
    found, held = candidate.figure(metric), candidate.figure(metric, of_holder=True)
    if found is None:
        return _absent(candidate, name, "known", metric)
    if candidate.holder is None:
        return Check(name, "nobody holds the stage", found, True)
    if candidate.holder.version == candidate.version.version:
        return Check(name, "it holds the stage itself", found, True)
    whose = f"version {candidate.holder.version}"
    if held is None:
        return Check(name, f"{whose} has no {metric}", found, False)
    slack = abs(held) * tolerance if relative else tolerance
    lower = lower_is_better(metric)
    bound = held + slack if lower else held - slack
    holds = found <= bound if lower else found >= bound
    return Check(name, f"{'<=' if lower else '>='} {bound:.6g} ({whose}: {held:.6g})", found, holds)


def _absent(candidate: Candidate, name: str, wanted: str, metric: str) -> Check:
    near = did_you_mean(metric, candidate.known)
    return Check(name, f"{wanted}; the model has no {metric}" + (f", {near}" if near else ""), None, False)


def _from(candidate: Candidate, stage: str) -> Check:
    number = candidate.version.version
    held = [one for one in candidate.standing.outcome.holders if candidate.standing.holder(one) == number]
    found = list(dict.fromkeys([*held, candidate.version.stage]))
    holds = stage in found or candidate.standing.holder(stage) == number
    return Check("from", stage, ", ".join(found), holds)


def _measured(
    settings: Settings, store: TrackingStore, candidate: Candidate, source: str, listener: ProgressListener
) -> tuple[Candidate, str]:
    """Score candidate and holder on the same data; return them with it, and the metric that decides."""
    fresh: list[Mapping[str, float]] = []
    versions: Sequence[RegisteredVersion | None] = (candidate.version, candidate.holder)
    models = [_reference(one) for one in versions if one is not None]
    exam = evaluate.examine(settings, source, listener=listener, models=models)
    # rows that no training saw are a test, all of them
    kind = "test" if exam.name == evaluate.ALL else exam.name
    for one in versions:
        if one is None:
            fresh.append({})
            continue
        listener.stage(f"scoring version {one.version} on {kind} rows of {source}")
        reached = exam.take(store, _reference(one)).metrics
        # --no-regress test_accuracy means what is measured now, and not what training once logged
        fresh.append({**reached, **{f"{kind}_{name}": value for name, value in reached.items()}})
    decides = exam.decides if exam.decides in fresh[0] else next(iter(fresh[0]))
    return (
        Candidate(
            candidate.standing, candidate.version, candidate.holder, candidate.run, candidate.held_run, *fresh
        ),
        decides,
    )


def _reference(version: RegisteredVersion) -> ModelReference:
    return ModelReference(version.uri, version.name, version.version, version.run_id)
