"""mlctl runs artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import RunArgument
from mlctl.cli.runs.list import Experiment

Get = Annotated[
    str | None, typer.Option("--get", "-g", metavar="ARTIFACT", help="Copy this file or folder here.")
]
To = Annotated[Path, typer.Option("--to", metavar="DIR", help="Where to, with --get.")]


def artifacts(
    session: Session, run: RunArgument, get: Get = None, to: To = Path(), experiment: Experiment = None
) -> None:
    """List the files of a run, its model's among them, or copy one here.

    \b
    mlctl runs artifacts last
    mlctl runs artifacts best --get history.csv --to ./figures
    """
    from mlctl.services.runs import artifacts as service

    uri = session.settings.tracking_uri
    if get is None:
        session.show(
            service.list_artifacts(uri, run, experiment), f"next: mlctl runs artifacts {run} --get PATH"
        )
        return
    target = to / Path(get).name
    if target.exists():
        session.confirm(f"{target} is there already. Overwrite it?")
    session.show(service.fetch(uri, run, get, to, experiment))
