"""mlctl runs delete."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import RUN_HELP, DryRunOption, ExperimentFilter
from mlctl.cli.runs.list import WhereOption

MAX_LISTED = 20
RunsArgument = Annotated[list[str] | None, typer.Argument(metavar="RUN", help=f"Runs, each by {RUN_HELP}.")]

if TYPE_CHECKING:
    from mlctl.domain.run import Run


def delete(
    session: Session,
    runs: RunsArgument = None,
    where: WhereOption = None,
    dry_run: DryRunOption = False,
    experiment: ExperimentFilter = None,
) -> None:
    """Delete runs and the models that they logged.

    \b
    mlctl runs delete digits-3 digits-4
    mlctl runs delete 3f2a --yes
    mlctl runs delete --where 'status = FAILED and started < 2025-01-01' --dry-run

    mlctl refuses to delete a run whose model is registered.
    """
    from mlctl.services.runs import delete as service

    deleted = service.delete_runs(
        session.settings.tracking_uri,
        runs or (),
        where=where,
        confirm=partial(_confirm, session),
        experiment=experiment,
        dry_run=dry_run,
    )
    hint = "nothing was deleted" if dry_run else "mlctl runs restore RUN restores a run, without its model"
    session.show(deleted, hint)


def _confirm(session: Session, runs: Sequence[Run]) -> None:
    names = ", ".join(f"{run.run_name} ({run.run_id[:8]})" for run in runs[:MAX_LISTED])
    if len(runs) > MAX_LISTED:
        names += f" and {len(runs) - MAX_LISTED} more"
    session.confirm(f"Delete these runs and the models they logged: {names}?")
