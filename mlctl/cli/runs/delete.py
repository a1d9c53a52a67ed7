"""mlctl runs delete."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import RunsArgument
from mlctl.cli.runs.list import Experiment

DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only show what would be done.")]


def delete(
    session: Session, runs: RunsArgument, dry_run: DryRun = False, experiment: Experiment = None
) -> None:
    """Delete runs with their models; one that is registered is refused.

    \b
    mlctl runs delete digits-3 digits-4
    mlctl runs delete 3f2a --yes
    """
    from mlctl.services.runs import delete as service

    uri = session.settings.tracking_uri
    found = service.deletable(uri, runs, experiment)
    if not dry_run:
        names = ", ".join(f"{run.run_name} ({run.run_id[:8]})" for run in found)
        session.confirm(f"Delete, with the models they logged: {names}?")
    after = (
        "nothing was deleted" if dry_run else "mlflow runs restore --run-id ID: back again, but for its model"
    )
    session.show(service.delete(uri, found, dry_run), after)
