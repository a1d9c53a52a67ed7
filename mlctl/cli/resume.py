"""mlctl resume, sync and reproduce."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import RunArgument
from mlctl.output.progress import TrainingProgress
from mlctl.output.search_progress import SearchProgress

EpochsOption = Annotated[
    int | None,
    typer.Option("--epochs", min=1, help="For a training: new total number of epochs, to train it longer."),
]
TrialsOption = Annotated[
    int | None,
    typer.Option("--trials", min=1, help="For a search: new maximum number of trials, to search longer."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Resume even if data, code or package versions have changed since.")
]


def resume(
    session: Session,
    run: RunArgument,
    epochs: EpochsOption = None,
    trials: TrialsOption = None,
    force: ForceOption = False,
) -> None:
    """Resume a run that was killed, stopped or failed.

    \b
    mlctl resume last
    mlctl resume 77b0 --trials 50
    mlctl resume 3f2a --epochs 30
    """
    from mlctl.services.workflows import resume as service

    with SearchProgress() as listener:
        answer = service.resume(
            session.settings, run, epochs=epochs, trials=trials, force=force, listener=listener
        )
    session.show(answer, f"next: mlctl runs show {answer.run_id[:8]}")


def sync(session: Session) -> None:
    """Send runs that are recorded on this machine only to the tracking store.

    \b
    mlctl sync
    mlctl sync --tracking-uri http://mlflow.example.com

    Such runs were trained with --offline, or while their tracking store could not be reached. Each run goes to the
    store that it was started for. With --tracking-uri, mlctl sends to that store every run that it can take.
    """
    from mlctl.services.training import sync as service

    with TrainingProgress() as listener:
        answer = service.sync(session.settings, listener)
    session.show(answer)


def reproduce(session: Session, run: RunArgument) -> None:
    """Train a run again from its record and compare all metrics.

    \b
    mlctl reproduce best

    The command fails if a metric differs although the versions and the machine are the same.
    """
    from mlctl.services.workflows import reproduce as service

    with TrainingProgress() as listener:
        answer = service.reproduce(session.settings, run, listener)
    session.show(answer, f"next: mlctl runs diff {answer.original_run_id[:8]} {answer.run.run_id[:8]}")
    service.require_reproduced(answer)
