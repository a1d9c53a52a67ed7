"""Record what another program changed in a model's stages, or undo it."""

from __future__ import annotations

from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.registry import Reconciliation
from mlctl.services.models.foreign_moves import ForeignMove
from mlctl.services.models.history import PROMOTE, RELEASE, ROLLBACK, MoveRecord, now
from mlctl.services.models.registry_state import read_state, record_foreign_moves
from mlctl.services.models.stages import is_exclusive
from mlctl.settings import Settings

REASON = "undoes a change outside mlctl"


def reconcile(
    settings: Settings, name: str, *, restore: bool = False, dry_run: bool = False
) -> Reconciliation:
    """Write an entry to the history for each change of another program; `restore` also undoes it.

    Raises NotFoundError if there is no such model.
    """
    registry = Registry(TrackingStore(settings.tracking_uri))
    state = read_state(registry, name)
    if dry_run or state.is_settled:
        return Reconciliation(name, state.disagreements, restore)
    moves = record_foreign_moves(registry, name, _undo if restore else lambda _move: None)
    return Reconciliation(name, tuple(move.message for move in moves), restore, done=bool(moves))


def _undo(move: ForeignMove) -> MoveRecord:
    """Return the record that moves a stage back to what the history said."""
    foreign = move.record
    action, stage, version = ROLLBACK, foreign.stage, move.recorded
    if not is_exclusive(stage):
        action, stage, version = PROMOTE, foreign.previous_stage, foreign.version
    elif version is None:
        action, version = RELEASE, foreign.version
    return MoveRecord(
        at=now(), by=provenance.acting_user(), action=action, stage=stage, version=version, reason=REASON
    )
