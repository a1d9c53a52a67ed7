"""How a run's record ends: finished, interrupted or failed; the same for a training, a search and automl."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator

from mlctl.adapters.runlog import local_runs
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.runlog.stop_watch import interrupt
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.note import generated_note
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.errors import Interrupted, MlctlError, UnreachableError
from mlctl.notifications import RUN_FAILED, RUN_FINISHED, NotifyTarget
from mlctl.services.runs.description import describe_run
from mlctl.services.runs.tell import tell_about_run


@contextlib.contextmanager
def recording(
    recorder: Recorder | Callable[[], Recorder],
    interruption: Callable[[], str],
    notify: NotifyTarget | None = None,
) -> Iterator[None]:
    """End the run as KILLED on Ctrl-C, with the message of `interruption`, and as FAILED on any error.

    `recorder` may be a function that creates the run if there is none yet. `notify` is told about an error.
    """
    get_recorder = recorder if callable(recorder) else lambda: recorder
    try:
        with _sigterm_as_interrupt():
            yield
    except KeyboardInterrupt:
        ended = get_recorder()
        ended.finish("KILLED")
        message = f"{ended.stop_request}; {interruption()}" if ended.stop_request else interruption()
        raise Interrupted(message, f"resume it: mlctl resume {ended.run_id[:8]}") from None
    except BaseException as error:
        with contextlib.suppress(
            MlctlError
        ):  # of a store that does not take the run: the error itself is shown
            fail_run(get_recorder(), error, notify)
        raise


def fail_run(recorder: Recorder, error: BaseException, notify: NotifyTarget | None) -> None:
    """End the run as FAILED, and tell about it."""
    recorder.fail(error)
    if notify is None:
        return
    with contextlib.suppress(OSError):  # the record cannot be read; the error itself is shown
        failed = dataclasses.replace(local_runs.to_run(recorder.journal), status="FAILED")
        tell_about_run(notify, RUN_FAILED, failed, f"{type(error).__name__}: {error}")


def finish_run(
    recorder: Recorder,
    store: TrackingStore,
    listener: ProgressListener,
    status: str = "FINISHED",
    *,
    notify: NotifyTarget | None = None,
    event: str = RUN_FINISHED,
) -> Run:
    """End the run; return it as the store has it, or as its record does if the store is away.

    `notify` is told about the event, or about a failure; nobody is told about a run that was stopped.
    """
    run = _finish_run(recorder, store, listener, status)
    if status in {"FINISHED", "FAILED"}:
        tell_about_run(notify, event if status == "FINISHED" else RUN_FAILED, run)
    return run


def _finish_run(recorder: Recorder, store: TrackingStore, listener: ProgressListener, status: str) -> Run:
    recorded = local_runs.to_run(recorder.journal)  # the record is deleted when the store has all of it
    recorder.describe(generated_note(describe_run(recorded)))
    try:
        unsent = recorder.finish(status)
    except KeyboardInterrupt:
        raise Interrupted("the run is finished, but not all of it was sent", "send it: mlctl sync") from None
    if unsent:
        listener.message(
            f"{unsent} records of this run were not sent yet; they are kept in {recorder.journal.folder};"
            " send them: mlctl sync"
        )
        return local_runs.to_run(recorder.journal)
    try:
        return store.get_run(recorder.run_id)
    except UnreachableError:  # it has everything, and went away before it could answer
        return dataclasses.replace(recorded, status=status, model_uri=recorder.model_uri)


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM, which a reclaimed cluster node gets, and a request to stop the run like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
