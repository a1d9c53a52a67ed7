"""Which tables a value makes for people, and which document it is for programs: one file a noun."""

from mlctl.output.views import (
    automl,
    compare,
    completion,
    models,
    predictions,
    project,
    promotions,
    recipes,
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
    "models",
    "predictions",
    "project",
    "promotions",
    "recipes",
    "run_detail",
    "runs",
    "server",
    "serving",
    "tables",
    "training",
    "tune",
]
