"""Registering the model of a run that train, tune or automl has just finished."""

from __future__ import annotations

from dataclasses import replace

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.errors import MlctlError
from mlctl.services.registry.register import register_in_store


def register_result(store: TrackingStore, run: Run, name: str | None, listener: ProgressListener) -> Run:
    """Register a finished run's model under `name`, if there is one; return the run with its version.

    If it cannot be registered, the error says that the run is kept and how to register its model later.
    """
    if not name:
        return run
    try:
        registered = register_in_store(store, run.run_id, name, listener=listener)
    except MlctlError as exc:
        hint = f"{exc.hint}; then: mlctl register {run.run_id[:8]} {name}" if exc.hint else ""
        raise type(exc)(
            f"run {run.run_name} is finished and kept, but its model was not registered as {name}: {exc.message}",
            hint,
        ) from exc
    return replace(run, registered=f"{registered.name}/{registered.version}")
