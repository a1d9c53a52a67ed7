"""mlctl runs list."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session

Experiment = Annotated[
    str | None,
    typer.Option("--experiment", "-e", metavar="EXPERIMENT", help="Only this experiment; default: all."),
]
RunFilter = Annotated[
    str | None,
    typer.Option(
        "--where",
        "-w",
        metavar="FILTER",
        help="Only runs that satisfy this; numbers are compared as numbers.",
    ),
]
Sort = Annotated[
    str | None,
    typer.Option(
        "--sort", "-s", metavar="NAMES", help="Sort by these, comma between; - before one: highest first."
    ),
]
Columns = Annotated[str | None, typer.Option("--columns", "-c", metavar="NAMES", help="Show these columns.")]
Limit = Annotated[int, typer.Option("--limit", "-l", min=0, help="How many at most; 0: all.")]


def list_runs(
    session: Session,
    experiment: Experiment = None,
    where: RunFilter = None,
    sort: Sort = None,
    columns: Columns = None,
    limit: Limit = 20,
) -> None:
    """List runs, newest first, the best value of each metric marked.

    \b
    mlctl runs list
    mlctl runs list --sort -best_val_f1 --limit 5
    mlctl runs list --where "best_val_f1 > 0.88 and params.epochs = 10 and status = FINISHED"
    mlctl runs list --where "started > 2d and not data = synthetic" --columns test_accuracy,params.units
    """
    from mlctl.services.runs import listing as runs

    answer = runs.list_runs(session.settings.tracking_uri, experiment, where, sort, columns, limit)
    session.show(answer, "next: mlctl runs show RUN" if answer.runs else "next: mlctl train digits")
