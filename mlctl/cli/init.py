"""mlctl init."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from mlctl.cli.common_options import Session

FolderArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of the project, created if it is missing (default: .).")
]


ScriptOption = Annotated[
    Path | None,
    typer.Option(
        "--script",
        metavar="FILE",
        help="Make the project one of this script, with its own arguments as parameters.",
    ),
]


def init(session: Session, folder: FolderArgument = Path(), script: ScriptOption = None) -> None:
    """Write the mlctl.toml and the MLproject file of a project.

    \b
    mlctl init
    mlctl init ./my-project
    mlctl init --script train.py

    mlctl reads mlctl.toml; MLproject makes the project work with mlflow run. Existing files are kept.
    """
    from mlctl.services.project.init import create_project

    session.show(
        create_project(folder, script),
        f"next: mlctl train {quote(str(script or 'digits'))}, or mlflow run {quote(str(folder))} --env-manager local",
    )
