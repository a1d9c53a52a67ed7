"""mlctl init."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The project's folder; made where it is not there.")
]


def init(session: Session, folder: Folder = Path()) -> None:
    """Write mlctl.toml and an MLproject, for mlctl and for stock mlflow run.

    \b
    mlctl init
    mlctl init ./my-project
    """
    from mlctl.services.init import init as write

    session.show(write(folder), f"next: mlctl train digits, or mlflow run {folder} --env-manager local")
