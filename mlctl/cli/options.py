"""Arguments and options that several commands share, declared once."""

from __future__ import annotations

from typing import Annotated

import typer

SourceArgument = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A recipe's name, or a recipe file (./mine.py).")
]
Experiment = Annotated[
    str | None,
    typer.Option("--experiment", "-e", metavar="NAME", help="The experiment; default: the recipe's name."),
]
RunArgument = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's id or a prefix of it, its name, last, best, or best:METRIC."),
]
