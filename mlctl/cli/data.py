"""mlctl data."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import (
    DataOption,
    HtmlOption,
    SetOption,
    TargetOption,
    TestOption,
    ValidationOption,
)
from mlctl.cli.parsing import parse_overrides, write_command
from mlctl.domain.data_check import Severity
from mlctl.errors import RefusedError
from mlctl.output.progress import TrainingProgress
from mlctl.units import count

CheckedArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Your own data: a table, or a folder of images or texts. Also a recipe's name or file.",
    ),
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Exit with code 4 if there is a warning or a problem.")
]


def check(
    session: Session,
    source: CheckedArgument,
    target: TargetOption = None,
    validation: ValidationOption = None,
    test: TestOption = None,
    data: DataOption = None,
    set_: SetOption = None,
    html: HtmlOption = None,
    strict: StrictOption = False,
) -> None:
    """Check data before training: columns, gaps, outliers, leaks, duplicates and wrong labels.

    \b
    mlctl data check titanic.csv --target Survived
    mlctl data check titanic.csv --target Survived --html titanic.html
    mlctl data check january.csv --target left --test february.csv --strict

    It reads what mlctl train reads, with the same options, and logs nothing.
    """
    from mlctl.services.reports import data_check as service

    overrides = parse_overrides(set_, target=target, validation=validation, test=test)
    if html is not None:
        session.confirm_overwriting(html)
    with TrainingProgress() as listener:
        answer = service.check_data(
            session.settings, source, overrides=overrides, data=data, html=html, listener=listener
        )
    train = write_command(
        "mlctl", "train", source, target=target, validation=validation, test=test, data=data, set=set_
    )
    session.show(answer, f"next: open {answer.file} in a browser" if answer.file else f"next: {train}")
    if strict and answer.severity in (Severity.warning, Severity.problem):
        kinds = (Severity.problem, Severity.warning)
        found = [count(number, kind) for kind in kinds if (number := answer.count(kind))]
        raise RefusedError(f"{source} has {' and '.join(found)}", "correct the data, or omit --strict")
