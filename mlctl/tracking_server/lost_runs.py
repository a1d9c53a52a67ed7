"""Tells about runs whose process has died without a word, for everybody who uses this server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy

from mlctl.domain.heartbeat import HEARTBEAT, LOST_AFTER_S, heartbeat_age_s
from mlctl.domain.tags import TRIAL_TAG
from mlctl.notifications import LOST_WORDS, RUN_LOST, NotifyTarget, notify
from mlctl.tracking_server.log import log
from mlctl.tracking_server.server_config import ServerConfig

INTERVAL_S = 15.0
OLD_AFTER_S = 600.0  # a run that was lost so long ago was told about before this server started
# A trial is lost together with its search, which is told about. With inner joins, SQLite would begin with the tags, of
# all runs that ever were, which takes 20 times as long.
RUNNING = sqlalchemy.text(f"""
    SELECT r.run_uuid, r.name, e.name, t.value FROM runs r
    LEFT JOIN experiments e ON e.experiment_id = r.experiment_id
    LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = '{HEARTBEAT}'
    LEFT JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = '{TRIAL_TAG}'
    WHERE r.status = 'RUNNING' AND r.lifecycle_stage = 'active' AND k.value IS NULL
""")  # noqa: S608  # both are constants
METRICS = sqlalchemy.text("SELECT m.key, m.value, m.is_nan FROM latest_metrics m WHERE m.run_uuid = :run_id")


@dataclass(frozen=True)
class RunningRun:
    """A run that has not ended, and its last sign of life; None if it has never sent one."""

    run_id: str
    name: str
    experiment: str
    heartbeat: str | None


class LostRuns:
    """Tells once about each run that has sent no sign of life for a minute.

    Args:
        target: Who is told.
        server: Name of the server.
    """

    def __init__(self, target: NotifyTarget, server: str) -> None:
        self._target, self._server = target, server
        self._told: set[str] = set()

    def check(self, running: Iterable[RunningRun]) -> list[RunningRun]:
        """Return the runs among these that were lost since the last check."""
        lost = {run.run_id: run for run in running if _is_lost(run)}
        new = [run for run_id, run in lost.items() if run_id not in self._told]
        self._told = set(lost)  # one that has come back may be lost again
        return new

    def tell(self, run: RunningRun, metrics: dict[str, float]) -> None:
        """Tell about a lost run."""
        notify(
            self._target,
            RUN_LOST,
            f"run {run.name} of {run.experiment} {LOST_WORDS}",
            {
                "run_id": run.run_id,
                "run_name": run.name,
                "experiment": run.experiment,
                "status": "LOST",
                "metrics": metrics,
                "model_uri": None,
                "error": "",
                "server": self._server,
            },
        )


def start(config: ServerConfig) -> None:
    """Look for lost runs from now on, in a thread of this worker, if somebody wants to know."""
    target = config.notify_target()
    if target is not None and RUN_LOST in target.events:
        lost_runs = LostRuns(target, config.name)
        threading.Thread(target=_watch, args=(lost_runs,), name="lost-runs", daemon=True).start()


def _watch(lost_runs: LostRuns) -> None:
    from mlflow.server import handlers

    is_up = True
    while True:
        try:
            engine = handlers._get_tracking_store().engine
            with engine.connect() as connection:
                running = [RunningRun(*row) for row in connection.execute(RUNNING)]
                new = [(run, _metrics(connection, run)) for run in lost_runs.check(running)]
            for run, metrics in new:
                lost_runs.tell(run, metrics)
            is_up = True
        except sqlalchemy.exc.SQLAlchemyError as error:
            if is_up:
                log("ERROR", f"lost runs cannot be found at present: {type(error).__name__}")
            is_up = False
        time.sleep(INTERVAL_S)


def _metrics(connection: Any, run: RunningRun) -> dict[str, float]:
    rows = connection.execute(METRICS, {"run_id": run.run_id})
    return {key: float("nan") if is_nan else value for key, value, is_nan in rows}


def _is_lost(run: RunningRun) -> bool:
    age_s = heartbeat_age_s(run.heartbeat) if run.heartbeat else None
    return age_s is not None and LOST_AFTER_S < age_s < OLD_AFTER_S
