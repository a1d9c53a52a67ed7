"""Which tables a value makes for people, and which document it is for programs: one file a noun."""

from mlctl.output.views import completion, recipes, registry, runs
from mlctl.output.views.base import document, tables

__all__ = ["completion", "document", "recipes", "registry", "runs", "tables"]
