"""mlctl doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session

DeepOption = Annotated[
    bool,
    typer.Option("--deep", help="Also import TensorFlow, list devices, and train and load a small model."),
]


def doctor(session: Session, deep: DeepOption = False) -> None:
    """Check versions, settings, servers, disk and memory, and suggest fixes.

    \b
    mlctl doctor
    mlctl doctor --deep -o json
    """
    from mlctl.services.project.doctor import diagnose

    diagnosis = diagnose(session.settings, deep)
    session.show(diagnosis, "" if diagnosis.ok else "next: fix what failed, then run mlctl doctor again")
    if not diagnosis.ok:
        raise typer.Exit(5)
