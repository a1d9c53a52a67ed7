"""One execution of a user's script, from its first line to the finished run."""

from __future__ import annotations

import time

from mlctl.adapters.runlog.mlflow_calls import calls as mlflow_calls
from mlctl.adapters.scripts import execution, keras_hooks
from mlctl.adapters.scripts.execution import Outcome, Program
from mlctl.adapters.system import provenance
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.script import ScriptRequest
from mlctl.domain.tags import DURATION_TAG, PEAK_MEMORY_TAG
from mlctl.errors import ChildFailedError
from mlctl.recipes.lookup import error_location
from mlctl.services.recipes.user_code import describe
from mlctl.services.scripts.observer import ScriptObserver
from mlctl.services.scripts.record import ScriptRecord
from mlctl.services.training.resume_point import ResumePoint
from mlctl.settings import Settings


def run_script(
    settings: Settings,
    request: ScriptRequest,
    program: Program,
    listener: ProgressListener,
    resume_point: ResumePoint | None = None,
) -> tuple[ScriptRecord, Run]:
    """Run a script and record it; return its finished run.

    Raises ChildFailedError if the script fails; its run is FAILED then. An interrupted one is KILLED.
    """
    from mlctl.services.training.run_status import finish_run, recording

    started = time.monotonic()
    record = ScriptRecord(settings, request, program, listener, resume_point)
    if not _mentions_mlflow(program):
        record.recorder  # noqa: B018 - it is created: a process that dies before `fit` leaves a trace
    observer = ScriptObserver(record=record)
    mlflow_calls.begin(record.tracking_uri)
    with keras_hooks.observed(observer), mlflow_calls.collect():
        outcome = execution.run(program, request.arguments)
    with recording(record.recorder, lambda: "the script was interrupted"):
        _raise_failure(program, outcome)
        record.describe_code()
        if observer.last is not None:
            from mlctl.services.scripts.result import log_result

            log_result(record, observer.last, observer.evaluations)
        record.recorder.set_tags(
            {
                DURATION_TAG: round(time.monotonic() - started, 2),
                PEAK_MEMORY_TAG: round(provenance.peak_memory_mb()),
            }
        )
    return record, finish_run(record.recorder, record.store, listener)


def _raise_failure(program: Program, outcome: Outcome) -> None:
    if not outcome.code and outcome.error is None:
        return
    if outcome.error is None or isinstance(outcome.error, SystemExit):
        raise ChildFailedError(
            f"the script ended with exit code {outcome.code}{': ' if outcome.message else ''}{outcome.message}",
            "see what it printed above",
        ) from outcome.error
    raise ChildFailedError(
        f"{error_location(program.file, outcome.error)}: {describe(outcome.error)}",
        "fix the script (--debug shows the traceback)",
    ) from outcome.error


def _mentions_mlflow(program: Program) -> bool:
    """Return whether the script may choose the run's store, experiment and name itself."""
    return b"mlflow" in program.file.read_bytes()
