"""Let MLflow's calls inside a script reach the run of mlctl, whether the script has imported MLflow yet or not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from mlctl.adapters.runlog.script_calls import ScriptCalls
from mlctl.adapters.system.import_hooks import after_import

URI_VARIABLE = "MLFLOW_TRACKING_URI"
VARIABLES = (URI_VARIABLE, "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")  # that MLflow's functions change


@contextlib.contextmanager
def redirected_mlflow(calls: ScriptCalls) -> Iterator[None]:
    """Redirect MLflow while the block runs; its environment variables are afterwards as they were."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ[URI_VARIABLE] = calls.run.tracking_uri  # for MLflow, and for processes that the script starts

    def redirect() -> None:
        from mlctl.adapters.runlog import script_store  # it needs MLflow, which the script has imported

        stack.enter_context(script_store.redirected(calls))

    try:
        with contextlib.ExitStack() as stack, after_import("mlflow", redirect):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
