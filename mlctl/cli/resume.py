"""mlctl resume, sync and reproduce: runs that an interruption, an outage or a year has come to."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import RunArgument


def resume(
    session: Session,
    run: RunArgument,
    epochs: Annotated[int | None, typer.Option(min=1, help="More epochs than it was begun with.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Though data, code or versions have changed.")
    ] = False,
    trials: Annotated[
        int | None, typer.Option(min=1, help="A search: more trials than it was begun with.")
    ] = None,
) -> None:
    """Go on with a run that was killed, stopped or failed.

    \b
    mlctl resume last
    mlctl resume 77b0 --trials 50
    mlctl resume 3f2a --epochs 30
    """
    from mlctl.output.search import SearchView
    from mlctl.services.workflows import resume as service

    with SearchView() as view:
        answer = service.resume(session.settings, run, epochs, force, view, trials)
    session.show(answer, f"next: mlctl runs show {answer.run_id[:8]}")


def sync(session: Session) -> None:
    """Send what runs on this machine recorded while a tracking store was away.

    \b
    mlctl sync
    mlctl sync --tracking-uri http://mlflow.example.com   what that server can take, wherever it was begun for
    """
    from mlctl.output.progress import TrainingView
    from mlctl.services.training import sync as service

    with TrainingView() as view:
        answer = service.sync(session.settings, view)
    session.show(answer)


def reproduce(session: Session, run: RunArgument) -> None:
    """Train a run again from what it recorded, and compare every figure.

    \b
    mlctl reproduce best
    """
    from mlctl.errors import RefusedError
    from mlctl.output.progress import TrainingView
    from mlctl.services.workflows import reproduce as service

    with TrainingView() as view:
        answer = service.reproduce(session.settings, run, view)
    session.show(answer, f"next: mlctl runs diff {answer.of[:8]} {answer.run.run_id[:8]}")
    if answer.differences and not answer.reasons:
        raise RefusedError(
            "the figures differ on the same versions and machine", "mlctl runs diff shows where"
        )
