"""One execution of a user's script, from its first line to the finished run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mlctl.adapters.scripts import execution
from mlctl.adapters.scripts.execution import Program
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.script import ScriptRequest
from mlctl.services.scripts.failures import raise_failure
from mlctl.services.scripts.observer import ScriptObserver
from mlctl.services.scripts.record import ScriptRecord
from mlctl.services.scripts.watching import ScriptWatch
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

    record = ScriptRecord(settings, request, program, listener, resume_point)
    if not _mentions_mlflow(program) or record.is_started_elsewhere:
        record.recorder  # noqa: B018 - it is created: a process that dies before `fit` leaves a trace
    observer = ScriptObserver(record=record)
    with recording(lambda: record.recorder, observer.interruption, settings.notify):
        run_recorded(record, observer)
    status = record.mlflow.final_status
    return record, finish_run(record.recorder, record.store, listener, status, notify=settings.notify)


def run_recorded(record: ScriptRecord, observer: ScriptObserver, started: float | None = None) -> None:
    """Run a script, and log the model that it trains; the run stays open. Raises ChildFailedError if the script fails.

    `started` is the monotonic time from which the run's duration counts; None: now.
    """
    watch = ScriptWatch(record, observer, started)
    with watch.output_logged():
        with _logged_if_stopped(watch), watch.watching():
            outcome = execution.run(record.program, record.request.arguments)
            if not outcome.code and outcome.error is None:
                record.mlflow.script_ended()
        raise_failure(record.program, outcome)
        watch.log_result()


@contextlib.contextmanager
def _logged_if_stopped(watch: ScriptWatch) -> Iterator[None]:
    """Log the best model so far if `mlctl runs stop` ends the script."""
    try:
        yield
    except KeyboardInterrupt:
        if watch.record.recorder.stop_request and watch.observer.last is not None:
            watch.log_result()
        raise


def _mentions_mlflow(program: Program) -> bool:
    """Return whether the script may choose the run's store, experiment and name itself."""
    return b"mlflow" in program.file.read_bytes()
