"""Which tables a value makes for people, and which document it is for programs: one file a noun."""

from mlctl.output.views import completion, recipes, runs, tune
from mlctl.output.views.base import document, tables

__all__ = ["completion", "document", "recipes", "runs", "tables", "tune"]
