"""Promoting a version to a stage, and rolling a stage back."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.registry import Check, Promotion, RegisteredVersion
from mlctl.domain.run import Run
from mlctl.errors import RefusedError, UsageError
from mlctl.services.models import history, stages
from mlctl.services.models.registry_state import RegistryState, look, recorded
from mlctl.services.registry import gates as gate
from mlctl.services.registry.gates import Gates
from mlctl.settings import Settings


@dataclass(frozen=True)
class PromotionRequest:
    """How a promotion was asked for; `skip_gates` leaves out those of mlctl.toml, and wants a reason."""

    gates: Gates = field(default_factory=Gates)
    reason: str = ""
    skip_gates: bool = False
    dry_run: bool = False


def promote(
    settings: Settings,
    name: str,
    version: str,
    stage: str,
    asked: PromotionRequest,
    listener: ProgressListener | None = None,
) -> Promotion:
    """Move a version to a stage, unless a gate does not hold; the answer's `refused` says so.

    Raises UsageError for a stage that nobody declared, NotFoundError for a model or version that is not there.
    """
    stage = stages.canonical(stage, settings.stages)
    if asked.skip_gates and not asked.reason:
        raise UsageError("--skip-gates wants a reason, which is recorded", "add --reason '…'")
    store = TrackingStore(settings.tracking_uri)
    registry = Registry(store)
    standing = look(registry, name)
    chosen = standing.version(stages.number(version))
    holder = _holder(standing, stage)
    run = gate.run_of(store, chosen)
    wanted, skipped = _gates(settings, name, stage, asked)
    listener = listener or NullProgress()
    checks = (*gate.checked(settings, store, standing, chosen, holder, run, wanted, listener), *skipped)
    answer = Promotion(
        name, chosen.version, stage, holder.version if holder else None, False, checks, dry_run=asked.dry_run
    )
    if answer.refused:
        return answer
    if asked.dry_run:
        return replace(answer, changed=_changes(standing, chosen, stage))
    return _moved(registry, standing, settings, chosen, run, answer, asked.reason)


def rollback(
    settings: Settings, name: str, stage: str, to: str | None, reason: str, dry_run: bool = False,
    listener: ProgressListener | None = None,
) -> Promotion:  # fmt: skip
    """Give a stage back to the version that held it before, or to an earlier one.

    Raises RefusedError where there is none; the answer's `refused` says that the version does not work.
    """
    stage = stages.canonical(stage, settings.stages)
    if not stages.is_held(stage):
        raise UsageError(f"{stage} is held by nobody, so it cannot go back", "name Production, or Staging")
    store = TrackingStore(settings.tracking_uri)
    registry = Registry(store)
    standing = look(registry, name)
    holder = _holder(standing, stage)
    chosen = _earlier(standing, stage, holder, to and stages.number(to))
    (listener or NullProgress()).stage(f"loading version {chosen.version}")
    answer = Promotion(
        name, chosen.version, stage, holder.version if holder else None, False,
        (gate.smoke(store, chosen),), history.ROLLBACK, dry_run,
    )  # fmt: skip
    if answer.refused:
        return answer
    if dry_run:
        return replace(answer, changed=True)
    return _moved(registry, standing, settings, chosen, gate.run_of(store, chosen), answer, reason)


def insist(answer: Promotion) -> None:
    """Raise RefusedError where a check of a promotion or rollback did not hold."""
    failed = [one.check for one in answer.checks if not one.holds]
    if failed:
        several = f"{len(failed)} checks do not hold" if len(failed) > 1 else f"{failed[0]} does not hold"
        raise RefusedError(
            f"{answer.name} version {answer.version} was not moved to {answer.stage}: {several}",
            "register a better one, or change what is wanted",
        )


def _moved(
    registry: Registry, standing: RegistryState, settings: Settings, chosen: RegisteredVersion, run: Run | None,
    answer: Promotion, reason: str,
) -> Promotion:  # fmt: skip
    record = history.Record(
        at=history.now(), by=_who(), action=answer.action, stage=answer.stage, version=answer.version,
        reason=reason, came_from=chosen.stage, checks=answer.checks, run_id=chosen.run_id,
        data_sha256=run.data.sha256 if run and run.data else None,
    )  # fmt: skip
    after = recorded(registry, standing, record, settings.stages)
    move = after.outcome.moves[after.outcome.keys.index(after.key)]
    now = after.outcome.holders.get(answer.stage, answer.version)
    notes = () if now == answer.version else (f"version {now} was moved to {answer.stage} right after",)
    return replace(answer, replaced=move.replaced, changed=after.outcome.changed[after.key], notes=notes)


def _gates(
    settings: Settings, name: str, stage: str, asked: PromotionRequest
) -> tuple[Gates, tuple[Check, ...]]:
    """Return the gates to pass, and those that are skipped: mlctl.toml's count for stages that are held."""
    kept = Gates.kept(settings.models.get(name, {})) if stages.is_held(stage) else Gates()
    typed = _canonical_from(asked.gates, settings)
    kept = _canonical_from(kept, settings)
    if (
        kept.from_stage == stage
    ):  # Production's gate must not keep a version out of the stage that it asks for
        kept = replace(kept, from_stage=None)
    if asked.skip_gates:
        return typed, kept.skipped()
    return typed.with_(kept), ()


def _canonical_from(gates: Gates, settings: Settings) -> Gates:
    if not gates.from_stage:
        return gates
    return replace(gates, from_stage=stages.canonical(gates.from_stage, settings.stages))


def _holder(standing: RegistryState, stage: str) -> RegisteredVersion | None:
    number = standing.holder(stage) if stages.is_held(stage) else None
    return standing.version(number) if number and standing.exists(number) else None


def _changes(standing: RegistryState, chosen: RegisteredVersion, stage: str) -> bool:
    held = [one for one in standing.outcome.holders if standing.holder(one) == chosen.version]
    return stage not in held if stages.is_held(stage) else bool(held) or chosen.stage != stage


def _earlier(
    standing: RegistryState, stage: str, holder: RegisteredVersion | None, to: str | None
) -> RegisteredVersion:
    """Return the version to go back to; raises RefusedError where none held the stage before."""
    stack = list(standing.outcome.held.get(stage, ()))
    if holder and stack and stack[-1] == holder.version:
        stack.pop()
    candidates = [
        one for one in reversed(stack) if standing.exists(one) and (not holder or one != holder.version)
    ]
    if to is not None:
        standing.version(to)
        if to not in candidates:
            raise RefusedError(
                f"version {to} of {standing.name} did not hold {stage} before",
                f"mlctl promote {standing.name} {to} {stage} moves it there",
            )
        return standing.version(to)
    if not candidates:
        raise RefusedError(
            f"no version of {standing.name} held {stage} before"
            + (f" {holder.version}" if holder else "")
            + ", so there is nothing to go back to",
            f"mlctl models history {standing.name} --stage {stage} shows what there was",
        )
    return standing.version(candidates[0])


def _who() -> str:
    """Return who moves a model: the server's user where one is logged in, else this machine's."""
    return os.environ.get("MLFLOW_TRACKING_USERNAME") or provenance.user()
