"""Which tables a value makes for people, and which document it is for programs: one file a noun."""

from mlctl.output.views import (
    <<<<<<< HEAD
    predictions,
    <<<<<<< HEAD
    serving,
    =======
    training,
    =======
>>>>>>> tune
    recipes,
    >>>>>>> tune,
    compare,
    completion,
    registry,
    run_detail,
    runs,
    server,
    training,
    tune,
)
from mlctl.output.views.base import document, tables

__all__ = ["<<<<<<< HEAD
    predictions", "<<<<<<< HEAD
    serving", "=======
    training", "=======
>>>>>>> tune
    recipes", ">>>>>>> tune", "compare", "completion", "document", "registry", "run_detail", "runs", "server", "tables", "training", "tune"]
