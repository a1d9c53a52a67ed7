"""Promote a version to a stage, and roll a stage back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.registry import GateCheck, Promotion, RegisteredVersion
from mlctl.domain.run import Run
from mlctl.errors import RefusedError, UsageError
from mlctl.notifications import GATE_REFUSED, PROMOTION, notify
from mlctl.notifications import ROLLBACK as ROLLED_BACK
from mlctl.services.models.history import ROLLBACK, MoveRecord, now
from mlctl.services.models.registry_state import RegistryState, read_state, record_move
from mlctl.services.models.stages import (
    CLASSIC_STAGES,
    PRODUCTION,
    canonical_stage,
    is_exclusive,
    version_number,
)
from mlctl.services.registry.gates import Gates, PromotionCandidate, check_smoke, run_checks, run_of_version
from mlctl.settings import Settings, mask_passwords


@dataclass(frozen=True, kw_only=True)
class PromotionRequest:
    """The options of a promotion.

    Attributes:
        gates: Gates of the command line.
        reason: The user's reason, which the history keeps.
        skip_gates: Skip the gates of mlctl.toml; requires a reason.
        dry_run: Run the checks, but change nothing.
    """

    gates: Gates = field(default_factory=Gates)
    reason: str = ""
    skip_gates: bool = False
    dry_run: bool = False


Confirm = Callable[[str], None]


def _agree(question: str) -> None:
    """Agree to every question."""


def promote(
    settings: Settings,
    name: str,
    version: str,
    stage: str,
    request: PromotionRequest,
    *,
    confirm: Confirm = _agree,
    listener: ProgressListener | None = None,
) -> Promotion:
    """Move a version to a stage, unless a gate does not hold; then the answer's `refused` is true.

    `confirm` is called with a question if the move empties Production; it raises RefusedError if it is refused.
    Raises UsageError if the stage is not declared, NotFoundError if the model or version does not exist.
    """
    stage = canonical_stage(stage, settings.stages)
    if request.skip_gates and not request.reason:
        raise UsageError("--skip-gates requires a reason, which the history keeps", "add --reason '…'")
    store = TrackingStore(settings.tracking_uri)
    registry = Registry(store)
    state = read_state(registry, name)
    chosen = state.version(version_number(version))
    holder = _holder(state, stage)
    candidate = PromotionCandidate(
        state=state,
        version=chosen,
        holder=holder,
        run=run_of_version(store, chosen),
        holder_run=run_of_version(store, holder),
    )
    gates, skipped = _effective_gates(settings, name, stage, request)
    checks = run_checks(settings, store, candidate, gates, listener or NullProgress())
    answer = Promotion(
        name=name,
        version=chosen.version,
        stage=stage,
        replaced=holder.version if holder else None,
        changed=False,
        checks=(*checks, *skipped),
        released=_released_stages(state, chosen, stage, settings.stages),
        dry_run=request.dry_run,
        notes=state.disagreements,
    )
    if answer.refused:
        _tell(settings, answer, request.reason)
        return replace(answer, released=())
    if request.dry_run:
        return replace(answer, changed=_would_change(state, chosen, stage))
    _confirm_release(answer, confirm)
    return _move(settings, registry, candidate, answer, request.reason, gates=gates)


def rollback(
    settings: Settings,
    name: str,
    stage: str,
    *,
    to: str | None = None,
    reason: str = "",
    dry_run: bool = False,
    confirm: Confirm = _agree,
    listener: ProgressListener | None = None,
) -> Promotion:
    """Return a stage to the version that held it before, or to the earlier version `to`.

    If that version does not load and answer, nothing changes, and the answer's `refused` is true.

    Raises RefusedError if no earlier version held the stage.
    """
    stage = canonical_stage(stage, settings.stages)
    if not is_exclusive(stage):
        raise UsageError(
            f"{stage} cannot be rolled back: no single version holds it", "use Production or Staging"
        )
    store = TrackingStore(settings.tracking_uri)
    registry = Registry(store)
    state = read_state(registry, name)
    holder = _holder(state, stage)
    chosen = _earlier_version(state, stage, holder, to=version_number(to) if to else None)
    (listener or NullProgress()).stage(f"loading version {chosen.version}")
    answer = Promotion(
        name=name,
        version=chosen.version,
        stage=stage,
        replaced=holder.version if holder else None,
        changed=False,
        checks=(check_smoke(store, chosen),),
        action=ROLLBACK,
        released=_released_stages(state, chosen, stage, settings.stages),
        dry_run=dry_run,
        notes=state.disagreements,
    )
    if answer.refused:
        _tell(settings, answer, reason)
        return replace(answer, released=())
    if dry_run:
        return replace(answer, changed=True)
    _confirm_release(answer, confirm)
    candidate = PromotionCandidate(
        state=state, version=chosen, holder=holder, run=run_of_version(store, chosen), holder_run=None
    )
    return _move(settings, registry, candidate, answer, reason)


def require_passed(answer: Promotion) -> None:
    """Raise RefusedError if a check of a promotion or rollback did not hold."""
    failed = [check.check for check in answer.checks if not check.holds]
    if failed:
        problem = f"{len(failed)} checks do not hold" if len(failed) > 1 else f"{failed[0]} does not hold"
        raise RefusedError(
            f"{answer.name} version {answer.version} was not moved to {answer.stage}: {problem}",
            "promote another version, or change the gates",
        )


def _move(
    settings: Settings,
    registry: Registry,
    candidate: PromotionCandidate,
    answer: Promotion,
    reason: str,
    *,
    gates: Gates | None = None,
) -> Promotion:
    run: Run | None = candidate.run
    record = MoveRecord(
        at=now(),
        by=provenance.acting_user(),
        action=answer.action,
        stage=answer.stage,
        version=answer.version,
        reason=reason,
        previous_stage=candidate.version.stage,
        checks=answer.checks,
        run_id=candidate.version.run_id,
        data_sha256=run.data.sha256 if run and run.data else None,
    )

    def require_unchanged(state: RegistryState) -> None:
        if gates is not None:
            _require_checked(state, candidate, answer, gates)

    state = record_move(registry, candidate.state, record, settings.stages, require_unchanged)
    entry = state.history.entries[state.history.keys.index(state.new_key)]
    holder = state.history.holders.get(answer.stage, answer.version)
    notes = answer.notes
    if holder != answer.version:
        notes = (*notes, f"version {holder} was moved to {answer.stage} immediately afterwards")
    changed = state.history.changed[state.new_key]
    moved = replace(answer, replaced=entry.replaced, changed=changed, released=entry.released, notes=notes)
    _tell(settings, moved, reason)
    return moved


def _require_checked(
    state: RegistryState, candidate: PromotionCandidate, answer: Promotion, gates: Gates
) -> None:
    """Raise RefusedError if another promotion has moved, while the gates ran, what they compared with."""
    holder = _holder(state, answer.stage)
    compared, current = (found.version if found else None for found in (candidate.holder, holder))
    if (gates.no_regress or gates.evaluate) and compared != current:
        raise RefusedError(
            f"version {current} was moved to {answer.stage} meanwhile, and the gates compared with "
            f"{f'version {compared}' if compared else 'no version'}",
            "run the command again",
        )
    if gates.from_stage and state.version(answer.version).stage != candidate.version.stage:
        raise RefusedError(
            f"version {answer.version} was moved to {state.version(answer.version).stage} meanwhile",
            "run the command again",
        )


def _tell(settings: Settings, answer: Promotion, reason: str) -> None:
    """Tell about a move or a refusal; nobody is told about a dry run, or if nothing was to change."""
    if answer.dry_run or not (answer.changed or answer.refused):
        return
    failed = [
        f"{check.check} {check.wanted}, found {check.found}" for check in answer.checks if not check.holds
    ]
    if failed:
        event, text = GATE_REFUSED, f"was not moved to {answer.stage}: {'; '.join(failed)}"
    else:
        event = ROLLED_BACK if answer.action == ROLLBACK else PROMOTION
        words = "was rolled back to" if event == ROLLED_BACK else "was moved to"
        text = f"{words} {answer.stage}" + (f", in place of {answer.replaced}" if answer.replaced else "")
    by = provenance.acting_user()
    notify(
        settings.notify,
        event,
        f"{answer.name} version {answer.version} {text} by {by}" + (f": {reason}" if reason else ""),
        {
            "name": answer.name,
            "version": answer.version,
            "stage": answer.stage,
            "replaced": answer.replaced,
            "by": by,
            "reason": reason,
            "checks": [asdict(check) for check in answer.checks],
            "tracking_uri": mask_passwords(settings.tracking_uri),
        },
    )


def _effective_gates(
    settings: Settings, name: str, stage: str, request: PromotionRequest
) -> tuple[Gates, tuple[GateCheck, ...]]:
    """Return the gates to check, and the skipped ones. The gates of mlctl.toml apply to exclusive stages."""
    configured = Gates.from_settings(settings.models.get(name, {})) if is_exclusive(stage) else Gates()
    typed = _with_canonical_stage(request.gates, settings)
    configured = _with_canonical_stage(configured, settings)
    if configured.from_stage == stage:  # a gate "from Staging" must not block the promotion to Staging
        configured = replace(configured, from_stage=None)
    if request.skip_gates:
        return typed, configured.as_skipped()
    return typed.merged_with(configured), ()


def _with_canonical_stage(gates: Gates, settings: Settings) -> Gates:
    if not gates.from_stage:
        return gates
    return replace(gates, from_stage=canonical_stage(gates.from_stage, settings.stages))


def _holder(state: RegistryState, stage: str) -> RegisteredVersion | None:
    number = state.holder(stage) if is_exclusive(stage) else None
    return state.version(number) if number and state.has_version(number) else None


def _released_stages(
    state: RegistryState, version: RegisteredVersion, stage: str, own_stages: Sequence[str]
) -> tuple[str, ...]:
    """Return the stages that a version leaves by a move to `stage`, as the history will record it."""
    stages = dict.fromkeys([*CLASSIC_STAGES, *own_stages, *state.history.holders])
    held = [name for name in stages if name != stage and state.holder(name) == version.version]
    if not is_exclusive(stage):
        return tuple(held)
    return tuple(name for name in held if stage in CLASSIC_STAGES and name in CLASSIC_STAGES)


def _confirm_release(answer: Promotion, confirm: Confirm) -> None:
    """Ask whether Production may become empty. Raises RefusedError."""
    if PRODUCTION in answer.released:
        confirm(
            f"{answer.name} version {answer.version} leaves {PRODUCTION}, which is then empty: nothing serves "
            f"{answer.name}. Move it to {answer.stage}?"
        )


def _would_change(state: RegistryState, chosen: RegisteredVersion, stage: str) -> bool:
    held = [name for name in state.history.holders if state.holder(name) == chosen.version]
    return stage not in held if is_exclusive(stage) else bool(held) or chosen.stage != stage


def _earlier_version(
    state: RegistryState, stage: str, holder: RegisteredVersion | None, *, to: str | None
) -> RegisteredVersion:
    """Return the version to roll back to. Raises RefusedError if no earlier version held the stage."""
    stack = list(state.history.stacks.get(stage, ()))
    if holder and stack and stack[-1] == holder.version:
        stack.pop()
    earlier = [
        number
        for number in reversed(stack)
        if state.has_version(number) and (not holder or number != holder.version)
    ]
    if to is not None:
        version = state.version(to)
        if to not in earlier:
            raise RefusedError(
                f"version {to} of {state.name} did not hold {stage} before",
                f"mlctl promote {state.name} {to} {stage} moves it there",
            )
        return version
    if not earlier:
        before = f" before {holder.version}" if holder else ""
        raise RefusedError(
            f"no version of {state.name} held {stage}{before}, so it cannot be rolled back",
            f"mlctl models history {state.name} --stage {stage} shows the past moves",
        )
    return state.version(earlier[0])
