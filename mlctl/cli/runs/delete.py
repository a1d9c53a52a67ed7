"""mlctl runs delete."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mlctl.cli.common_options import Session
from mlctl.cli.options import DryRunOption, ExperimentFilter, RunsArgument

if TYPE_CHECKING:
    from mlctl.domain.run import Run


def delete(
    session: Session, runs: RunsArgument, dry_run: DryRunOption = False, experiment: ExperimentFilter = None
) -> None:
    """Delete runs and the models that they logged.

    \b
    mlctl runs delete digits-3 digits-4
    mlctl runs delete 3f2a --yes

    mlctl refuses to delete a run whose model is registered.
    """
    from mlctl.services.runs import delete as service

    deleted = service.delete_runs(
        session.settings.tracking_uri,
        runs,
        confirm=partial(_confirm, session),
        experiment=experiment,
        dry_run=dry_run,
    )
    hint = (
        "nothing was deleted"
        if dry_run
        else "mlflow runs restore --run-id ID restores a run, without its model"
    )
    session.show(deleted, hint)


def _confirm(session: Session, runs: Sequence[Run]) -> None:
    names = ", ".join(f"{run.run_name} ({run.run_id[:8]})" for run in runs)
    session.confirm(f"Delete these runs and the models they logged: {names}?")
