"""mlctl train."""

from __future__ import annotations

from mlctl.cli.options import Experiment, SourceArgument
from mlctl.cli.session import Session


def train(session: Session, source: SourceArgument, experiment: Experiment = None) -> None:
    """Train a recipe and log the model to MLflow.

    mlctl train digits
    """
