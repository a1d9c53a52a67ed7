"""Which tables a value makes for people, and which document it is for programs: one file a noun."""

from mlctl.output.views import (
    compare,
    completion,
    project,
    recipes,
    registry,
    run_detail,
    runs,
    server,
    training,
)
from mlctl.output.views.base import document, tables

__all__ = [
    "compare",
    "completion",
    "document",
    "project",
    "recipes",
    "registry",
    "run_detail",
    "runs",
    "server",
    "tables",
    "training",
]
