"""mlctl evaluate."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import Experiment, SourceArgument, Target

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME, NAME/3, NAME@alias, a RUN, a URI, a folder.")
]
Against = Annotated[str | None, typer.Option(metavar="MODEL", help="Another model, on the same rows.")]
Data = Annotated[str | None, typer.Option(metavar="PATH", help="In place of the usual data.")]
Rows = Annotated[int | None, typer.Option(min=100, help="Size of synthetic data.")]
Log = Annotated[bool, typer.Option("--log", help="Note it as a run.")]


def evaluate(
    session: Session,
    model: Model,
    source: SourceArgument,
    against: Against = None,
    data: Data = None,
    rows: Rows = None,
    target: Target = None,
    log: Log = False,
    experiment: Experiment = None,
) -> None:
    """Score a model on a recipe's data or your own, beside another one.

    \b
    mlctl evaluate Digits digits
    mlctl evaluate Churn september.csv
    mlctl evaluate Digits/4 digits --against Digits --log
    """
    from mlctl.output.progress import TrainingView
    from mlctl.services.evaluation.compare import compare

    with TrainingView() as view:
        found = compare(session.settings, model, source, against, data, rows, log, target, view)
    session.show(found, f"noted as run {found.run_id[:8]}" if found.run_id else "")
