"""mlctl runs plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import ExperimentFilter, RunsArgument

MetricOption = Annotated[
    str | None,
    typer.Option("--metric", "-m", metavar="METRIC", help="Metric to draw (default: the run's objective)."),
]
SaveOption = Annotated[
    Path | None, typer.Option("--save", metavar="FILE", help="Also write a picture: .png, .svg or .pdf.")
]


def plot(
    session: Session,
    runs: RunsArgument,
    metric: MetricOption = None,
    save: SaveOption = None,
    experiment: ExperimentFilter = None,
) -> None:
    """Draw a metric by epoch, with all runs in one chart.

    \b
    mlctl runs plot last
    mlctl runs plot best last --metric val_loss --save loss.png
    """
    from mlctl.services.runs import curves

    if save:
        session.confirm_overwriting(save)
    answer = curves.load_curves(
        session.settings.tracking_uri, runs, metric=metric, save=save, experiment=experiment
    )
    session.show(answer, f"wrote {save}" if save else "next: mlctl runs plot RUN --save curves.png")
