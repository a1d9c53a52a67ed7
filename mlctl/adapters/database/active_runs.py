"""The runs of a database that a living process is writing, read without importing MLflow."""

from __future__ import annotations

from dataclasses import dataclass

from mlctl.adapters.database.connection import open_connection, select
from mlctl.domain.heartbeat import HEARTBEAT, LOST_AFTER_S, heartbeat_age_s
from mlctl.domain.server import Backend


@dataclass(frozen=True)
class ActiveRun:
    """A run with status RUNNING and a recent heartbeat."""

    run_id: str
    experiment_id: str


def list_active_runs(backend: Backend) -> tuple[ActiveRun, ...]:
    """Return the running runs with a recent heartbeat; runs of programs that write no heartbeat are left out."""
    with open_connection(backend) as connection:
        rows = select(
            connection,
            "SELECT r.run_uuid, r.experiment_id, t.value FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid"  # noqa: S608  # HEARTBEAT is a constant
            f" WHERE r.status = 'RUNNING' AND r.lifecycle_stage = 'active' AND t.key = '{HEARTBEAT}'",
        )
    return tuple(
        ActiveRun(run_id, str(experiment_id)) for run_id, experiment_id, value in rows if _is_recent(value)
    )


def _is_recent(heartbeat: str) -> bool:
    age_s = heartbeat_age_s(heartbeat)
    return age_s is not None and age_s <= LOST_AFTER_S
