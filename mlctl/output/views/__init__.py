"""Which tables a value makes for people, and which document it is for programs: one file a noun."""

from mlctl.output.views import (
    automl,
    compare,
    completion,
    predictions,
    project,
    recipes,
    registry,
    run_detail,
    runs,
    server,
    serving,
    training,
    tune,
)
from mlctl.output.views.base import document, tables

__all__ = [
    "automl",
    "compare",
    "completion",
    "document",
    "predictions",
    "project",
    "recipes",
    "registry",
    "run_detail",
    "runs",
    "server",
    "serving",
    "tables",
    "training",
    "tune",
]
