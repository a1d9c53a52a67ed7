"""mlctl evaluate."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import (
    RECORDING,
    DataOption,
    ExperimentOption,
    ModelArgument,
    RowsOption,
    SourceArgument,
    TargetOption,
)
from mlctl.output.progress import TrainingProgress

AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against", metavar="MODEL", help="Second model to score on the same rows, for a comparison."
    ),
]
LogOption = Annotated[
    bool, typer.Option("--log", help="Record the evaluation as a run.", rich_help_panel=RECORDING)
]


def evaluate(
    session: Session,
    model: ModelArgument,
    source: SourceArgument,
    target: TargetOption = None,
    data: DataOption = None,
    rows: RowsOption = None,
    against: AgainstOption = None,
    log: LogOption = False,
    experiment: ExperimentOption = None,
) -> None:
    """Score a model on the data of a recipe or on your own data.

    \b
    mlctl evaluate Digits digits
    mlctl evaluate Churn september.csv
    mlctl evaluate Digits/4 digits --against Digits --log
    """
    from mlctl.services.evaluation.compare import compare_models

    with TrainingProgress() as listener:
        answer = compare_models(
            session.settings,
            model,
            source,
            against=against,
            data=data,
            rows=rows,
            log=log,
            target=target,
            listener=listener,
        )
    session.show(answer, f"next: mlctl runs show {answer.run_id[:8]}" if answer.run_id else "")
