"""mlctl rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.promote import DryRun, Name, Reason, Stage

To = Annotated[
    str | None,
    typer.Option(metavar="VERSION", help="An earlier one; default: the one that held it before."),
]


def rollback(
    session: Session, name: Name, stage: Stage, to: To = None, reason: Reason = "", dry_run: DryRun = False
) -> None:
    """Give a stage back to the version that held it before.

    \b
    mlctl rollback Digits Production
    mlctl rollback Digits Production --to 1 --reason "2 and 3 drift on new pictures"

    It must load and answer its input example. Again goes one further back, and never round in a circle.
    """
    from mlctl.output.progress import TrainingView
    from mlctl.services.registry import promote as service

    with TrainingView() as listener:
        answer = service.rollback(session.settings, name, stage, to, reason, dry_run, listener)
    session.show(answer, "" if answer.refused else f"next: mlctl models history {name}")
    service.insist(answer)
