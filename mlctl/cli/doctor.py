"""mlctl doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session

Deep = Annotated[
    bool, typer.Option("--deep", help="Import TensorFlow, list devices, train and load back a model, too.")
]


def doctor(session: Session, deep: Deep = False) -> None:
    """Look at versions, settings, servers, disk and memory, and say what to mend.

    \b
    mlctl doctor
    mlctl doctor --deep -o json
    """
    from mlctl.services.doctor import examine

    diagnosis = examine(session.settings, deep)
    session.show(diagnosis, "" if diagnosis.ok else "mend what is marked, then: mlctl doctor")
    if not diagnosis.ok:
        raise typer.Exit(5)
