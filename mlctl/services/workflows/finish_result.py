"""What follows a run that train, tune or automl has just finished: its report, and its model's registration."""

from __future__ import annotations

from dataclasses import replace

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.errors import MlctlError
from mlctl.services.registry.register import register_in_store
from mlctl.settings import Settings


def finish_result(
    settings: Settings, store: TrackingStore, run: Run, *, register: str | None, listener: ProgressListener
) -> Run:
    """Log the report of a finished run if the settings say so, and register its model if it gets a name.

    Return the run, with its version if it has one now. If the model cannot be registered, the error says that the run
    is kept and how to register its model later.
    """
    if settings.report:
        from mlctl.services.reports.log_report import log_report

        log_report(settings, store, run, listener)
    if not register:
        return run
    try:
        registered = register_in_store(store, run.run_id, register, listener=listener)
    except MlctlError as exc:
        hint = f"{exc.hint}; then: mlctl register {run.run_id[:8]} {register}" if exc.hint else ""
        raise type(exc)(
            f"run {run.run_name} is finished and kept, but its model was not registered as {register}: {exc.message}",
            hint,
        ) from exc
    return replace(run, registered=f"{registered.name}/{registered.version}")
