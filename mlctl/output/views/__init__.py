"""Which tables a value makes for people, and which document it is for programs: one file a noun."""

from mlctl.output.views import compare, completion, recipes, registry, run_detail, runs, training
from mlctl.output.views.base import document, tables

__all__ = [
    "compare", "completion", "document", "recipes", "registry", "run_detail", "runs", "tables", "training",
]  # fmt: skip
