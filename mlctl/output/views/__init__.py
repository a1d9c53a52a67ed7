"""Which tables a value makes for people, and which document it is for programs: one file a noun."""

from mlctl.output.views import recipes, runs, server
from mlctl.output.views.base import document, tables

__all__ = ["document", "recipes", "runs", "server", "tables"]
