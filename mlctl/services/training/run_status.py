"""How a run's record ends: done, interrupted, or failed; the same for a training, a search and a race."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from mlctl.adapters.runlog import local_runs
from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.errors import Interrupted, UnreachableError


@contextlib.contextmanager
def recording(recorder: Recorder, interrupted: Callable[[], str]) -> Iterator[None]:
    """End the run as KILLED on Ctrl-C, with what `interrupted` says of it, and as FAILED on any error."""
    try:
        with _terminated_as_interrupted():
            yield
    except KeyboardInterrupt:
        recorder.finish("KILLED")
        raise Interrupted(interrupted(), f"go on: mlctl resume {recorder.run_id[:8]}") from None
    except BaseException as error:
        recorder.fail(error)
        raise


def finished(recorder: Recorder, listener: ProgressListener, status: str = "FINISHED") -> Run:
    """End the run; return it as the store has it, or as its record does where that is away."""
    told = local_runs.as_run(recorder.journal)  # the record is gone once the store has it all
    try:
        unsent = recorder.finish(status)
    except KeyboardInterrupt:
        raise Interrupted("the run is done, but not all of it is sent", "send it: mlctl sync") from None
    if unsent:
        listener.message(
            f"{unsent} records of this run are not sent yet; all of it is kept in {recorder.journal.folder};"
            " send it: mlctl sync"
        )
        return local_runs.as_run(recorder.journal)
    try:
        return TrackingStore(told.tracking_uri).run(recorder.run_id)
    except UnreachableError:  # it has all, and went away before it could be asked
        return dataclasses.replace(told, status=status, model_uri=recorder.model_uri)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM, as a node that is reclaimed sends it, for Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
