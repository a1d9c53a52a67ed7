"""mlctl runs plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import RunsArgument
from mlctl.cli.runs.list import Experiment

Metric = Annotated[
    str | None,
    typer.Option(
        "--metric", "-m", metavar="METRIC", help="The metric; default: what the run tries to reach."
    ),
]
Save = Annotated[
    Path | None, typer.Option("--save", metavar="FILE", help="Write a picture, too: .png, .svg, .pdf.")
]


def plot(
    session: Session,
    runs: RunsArgument,
    metric: Metric = None,
    save: Save = None,
    experiment: Experiment = None,
) -> None:
    """Draw a metric by epoch, several runs in one picture.

    \b
    mlctl runs plot last
    mlctl runs plot best last --metric val_loss --save loss.png
    """
    from mlctl.services.runs import curves

    if save and save.exists():
        session.confirm(f"{save} is there already. Overwrite it?")
    answer = curves.curves(session.settings.tracking_uri, runs, metric, save, experiment)
    session.show(answer, f"wrote {save}" if save else "next: mlctl runs plot RUN --save curves.png")
