"""mlctl runs copy and move."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import ExperimentFilter, RunsArgument

ToOption = Annotated[
    str,
    typer.Option(
        "--to", metavar="EXPERIMENT|URI", help="Experiment of this store, or the URI of another database."
    ),
]


def copy(session: Session, runs: RunsArgument, to: ToOption, experiment: ExperimentFilter = None) -> None:
    """Copy runs, with their artifacts, to an experiment or to another store.

    \b
    mlctl runs copy best --to production
    mlctl runs copy digits-3 digits-4 --to sqlite:///archive.db

    In another store, runs keep their ids, and the models that they logged are copied, too. The trials of a search go
    with it.
    """
    from mlctl.services.server import copy_runs

    answer = copy_runs.copy_runs(session.settings, runs, to, experiment=experiment)
    session.show(answer, f"next: mlctl runs show {answer.runs[0].run_id[:8]}")


def move(session: Session, runs: RunsArgument, to: ToOption, experiment: ExperimentFilter = None) -> None:
    """Move runs to an experiment or to another store.

    \b
    mlctl runs move digits-3 --to production
    mlctl runs move digits-3 --to sqlite:///archive.db --yes

    A run that is moved to another store is deleted here, after all of it was copied; one whose model is registered is
    refused. The trials of a search go with it.
    """
    from mlctl.services.server import copy_runs

    if "://" in to:
        session.confirm(f"Copy {', '.join(runs)} to {to}, and delete them here?")
    answer = copy_runs.copy_runs(session.settings, runs, to, move=True, experiment=experiment)
    session.show(answer, f"next: mlctl runs show {answer.runs[0].run_id[:8]}")
