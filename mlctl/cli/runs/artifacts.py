"""mlctl runs artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import ExperimentFilter, RunArgument

GetOption = Annotated[
    str | None,
    typer.Option(
        "--get",
        "-g",
        metavar="ARTIFACT",
        help="File or folder of the run to copy to this machine (default: list all).",
    ),
]
ToOption = Annotated[
    Path, typer.Option("--to", metavar="DIR", help="Folder for the copy (default: the current folder).")
]


def artifacts(
    session: Session,
    run: RunArgument,
    get: GetOption = None,
    to: ToOption = Path(),
    experiment: ExperimentFilter = None,
) -> None:
    """List the files of a run and of its model, or copy one to this machine.

    \b
    mlctl runs artifacts last
    mlctl runs artifacts best --get history.csv --to ./figures
    """
    from mlctl.services.runs import artifacts as service

    uri = session.settings.tracking_uri
    if get is None:
        answer = service.list_artifacts(uri, run, experiment)
        session.show(answer, f"next: mlctl runs artifacts {run} --get PATH")
        return
    session.confirm_overwriting(to / Path(get).name)
    session.show(service.download_artifact(uri, run, get, folder=to, experiment=experiment))
