"""mlctl runs report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import RUN_HELP, ExperimentFilter

SubjectsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN", help=f"One or more runs, each by {RUN_HELP}; or a registered model: NAME or NAME/3."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="File to write, .html (default: NAME-report.html)."),
]


def report(
    session: Session,
    runs: SubjectsArgument,
    out: OutOption = None,
    experiment: ExperimentFilter = None,
) -> None:
    """Write one HTML file about a run, about several runs, or about a registered model.

    \b
    mlctl runs report last
    mlctl runs report best last --out comparison.html
    mlctl runs report Digits/3

    The file needs no network. It shows scores, curves, confusions or residuals, probabilities, importance, the most
    wrong examples, data and environment; of several runs, the comparison; of a search, its trials; of a model, its
    history and gates.
    """
    from mlctl.services.reports import report as service

    out = out or service.default_file(session.settings, runs, experiment)
    session.confirm_overwriting(out)
    answer = service.write_report(session.settings, runs, out, experiment=experiment)
    session.show(answer, f"next: open {answer.file} in a browser")
