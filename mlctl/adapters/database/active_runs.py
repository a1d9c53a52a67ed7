"""The runs of a database that somebody is writing now, asked directly, without loading MLflow."""

from __future__ import annotations

from dataclasses import dataclass

from mlctl.adapters.database import connection as database
from mlctl.adapters.tracking.heartbeat import HEARTBEAT, heard_lately
from mlctl.domain.server import Backend


@dataclass(frozen=True)
class ActiveRun:
    """A run that is RUNNING and has left a sign of life lately."""

    run_id: str
    experiment_id: str


def active_runs(backend: Backend) -> tuple[ActiveRun, ...]:
    """Return the active runs that are alive; one of a program that leaves no heartbeat cannot be told."""
    with database.opened(backend) as connection:
        rows = database.select(
            connection,
            "SELECT r.run_uuid, r.experiment_id, t.value FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid"  # noqa: S608  # HEARTBEAT is a constant
            f" WHERE r.status = 'RUNNING' AND r.lifecycle_stage = 'active' AND t.key = '{HEARTBEAT}'",
        )
    return tuple(ActiveRun(row[0], str(row[1])) for row in rows if _lately(row[2]))


def _lately(last_beat: str) -> bool:
    try:
        return heard_lately(last_beat)
    except ValueError:  # a tag is anyone's to edit
        return False
