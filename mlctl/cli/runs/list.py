"""mlctl runs list."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import ExperimentFilter

WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        "-w",
        metavar="FILTER",
        help="Only runs that match, such as 'best_val_f1 > 0.88 and params.epochs = 10'. Values that are "
        "numbers are compared as numbers.",
    ),
]
SortOption = Annotated[
    str | None,
    typer.Option(
        "--sort",
        "-s",
        metavar="FIELD,…",
        help="Columns to sort by, separated by commas; -NAME sorts the highest value first "
        "(default: newest first).",
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        "-c",
        metavar="FIELD,…",
        help="Columns to show, separated by commas, such as test_accuracy,params.units; or all.",
    ),
]
LimitOption = Annotated[
    int, typer.Option("--limit", "-l", min=0, help="Maximum number of runs to show; 0 shows all.")
]
TrialsOption = Annotated[
    bool, typer.Option("--trials", help="Also list the trials of searches and the models of automl runs.")
]


def list_runs(
    session: Session,
    experiment: ExperimentFilter = None,
    where: WhereOption = None,
    sort: SortOption = None,
    columns: ColumnsOption = None,
    limit: LimitOption = 20,
    trials: TrialsOption = False,
) -> None:
    """List runs, newest first, and mark the best of each recipe and data.

    \b
    mlctl runs list
    mlctl runs list --sort -best_val_f1 --limit 5
    mlctl runs list --where "best_val_f1 > 0.88 and params.epochs = 10"
    mlctl runs list --where "started > 2d" --columns test_accuracy,params.units
    """
    from mlctl.services.runs import listing

    answer = listing.list_runs(
        session.settings.tracking_uri,
        experiment=experiment,
        where=where,
        sort=sort,
        columns=columns,
        limit=limit,
        trials=trials,
    )
    if answer.runs:
        session.show(answer, "next: mlctl runs show RUN")
    else:
        session.show(answer, "next: mlctl runs list" if answer.searched else "next: mlctl train digits")
