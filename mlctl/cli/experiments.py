"""mlctl experiments."""

from __future__ import annotations

import typer

from mlctl.cli.common_options import Session, with_common_options

app = typer.Typer(no_args_is_help=True, help="List experiments.")


@app.callback()
def _group() -> None:
    """List experiments."""


@app.command("list")
@with_common_options
def list_(session: Session) -> None:
    """List the experiments and how many runs each holds.

    \b
    mlctl experiments list
    """
    from mlctl.services.runs import listing as runs

    session.show(
        runs.list_experiments(session.settings.tracking_uri), "next: mlctl runs list --experiment NAME"
    )
