"""What a script's end says about its run."""

from __future__ import annotations

import traceback
from pathlib import Path

import mlctl
from mlctl.adapters.scripts.execution import Outcome, Program
from mlctl.errors import ChildFailedError, MlctlError
from mlctl.recipes.local_modules import is_installed
from mlctl.recipes.lookup import error_location
from mlctl.services.recipes.user_code import describe

CALLED_BY_SCRIPTS = {"keras", "tensorflow", "mlflow", "keras_tuner"}


def raise_failure(program: Program, outcome: Outcome) -> None:
    """Raise ChildFailedError if the script has failed: it names the script's line, or the exit code."""
    if not outcome.code and outcome.error is None:
        return
    if isinstance(outcome.error, MlctlError):  # of mlctl, inside one of the script's calls of Keras
        raise outcome.error
    if outcome.error is None or isinstance(outcome.error, SystemExit):
        raise ChildFailedError(
            f"the script ended with exit code {outcome.code}{': ' if outcome.message else ''}{outcome.message}",
            "see what it printed above",
        ) from outcome.error
    if _is_of_mlctl(outcome.error):  # a bug of mlctl is never blamed on the script
        raise outcome.error
    raise ChildFailedError(
        f"{error_location(program.file, outcome.error)}: {describe(outcome.error)}",
        "fix the script (--debug shows the traceback)",
    ) from outcome.error


def _is_of_mlctl(error: BaseException) -> bool:
    """Return whether mlctl's own code raised an exception, not the script's, nor Keras or MLflow for the script."""
    own = Path(mlctl.__file__).parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(own):
            return True
        if not is_installed(path) or CALLED_BY_SCRIPTS.intersection(path.parts):
            return False
    return False
