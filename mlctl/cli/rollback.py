"""mlctl rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import DryRunOption, NameArgument
from mlctl.cli.promote import ReasonOption, StageArgument, ask_after, next_step
from mlctl.output.progress import TrainingProgress

ToOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="VERSION",
        help="Earlier holder of the stage to return to (default: the one before the current version).",
    ),
]


def rollback(
    session: Session,
    name: NameArgument,
    stage: StageArgument,
    to: ToOption = None,
    reason: ReasonOption = "",
    dry_run: DryRunOption = False,
) -> None:
    """Give a stage back to the version that held it before.

    \b
    mlctl rollback Digits Production
    mlctl rollback Digits Production --to 1 --reason "3 drifts on new pictures"

    The version must load and answer its input example. Run rollback again to go back one more version.
    """
    from mlctl.services.registry import promote as service

    with TrainingProgress() as listener:
        answer = service.rollback(
            session.settings,
            name,
            stage,
            to=to,
            reason=reason,
            dry_run=dry_run,
            confirm=ask_after(listener, session),
            listener=listener,
        )
    session.show(answer, next_step(answer))
    service.require_passed(answer)
