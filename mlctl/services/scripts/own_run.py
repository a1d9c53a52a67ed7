"""A run that a program makes itself, without `mlctl train`: in a notebook, or in any script that Python runs."""

from __future__ import annotations

import contextlib
import shlex
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlctl.adapters.scripts.execution import Program
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.script import ScriptRequest
from mlctl.errors import MlctlError
from mlctl.services.scripts import session
from mlctl.services.scripts.observer import ScriptObserver
from mlctl.services.scripts.record import ScriptRecord
from mlctl.services.scripts.session import ScriptSession
from mlctl.services.scripts.watching import ScriptWatch
from mlctl.services.training import report
from mlctl.services.training.code_files import SCRIPT_FILE
from mlctl.settings import load

_open: OwnRun | None = None  # the run that this process records


class OwnRun:
    """Watches this process for a new run until it is closed.

    Attributes:
        record: The run's record.
        observer: Sees the program's calls of Keras.
        run: The run as it was finished; None while it is open.
    """

    def __init__(
        self,
        *,
        experiment: str | None = None,
        run_name: str | None = None,
        objective: str | None = None,
        keep: str = "best",
        tags: Mapping[str, str] | None = None,
        listener: ProgressListener | None = None,
    ) -> None:
        """Create the run with the settings of mlctl.toml and the environment; an open one is closed."""
        global _open
        if _open is not None:
            _open.close()
        settings = load({"experiment": experiment})
        settings.apply_to_environment()
        program = _this_program()
        request = ScriptRequest(
            script=str(program.file),
            arguments=tuple(sys.argv[1:]) if not _is_notebook() else (),
            folder=str(Path.cwd()),
            run_name=run_name,
            objective=objective,
            keep=keep,
            tags=dict(tags or {}),
        )
        self.record = ScriptRecord(settings, request, program, listener or _Lines())
        self.record.command = "a notebook" if _is_notebook() else shlex.join(sys.argv)
        self.observer = ScriptObserver(record=self.record)
        self.session = ScriptSession(record=self.record, observer=self.observer)
        self.run: Run | None = None
        self._watch = ScriptWatch(self.record, self.observer)
        self.record.recorder  # noqa: B018 - it is created: a process that dies leaves a trace
        self._stack: contextlib.ExitStack | None = contextlib.ExitStack()
        self._stack.enter_context(self._watch.watching())
        self._error: BaseException | None = None
        _open = self
        self._undo = _at_end_of_process(self._close_at_end, self._note_error)

    def close(self, error: BaseException | None = None) -> Run | None:
        """Log the model, and finish the run: as FAILED with an error; return it."""
        from mlctl.services.training.run_status import fail_run, finish_run

        if self._stack is None:
            return self.run
        global _open
        stack, self._stack = self._stack, None
        _open = None
        self._undo()
        record = self.record
        stack.close()
        try:
            with self._watch.output_logged():
                if error is None:
                    self._watch.log_result()
                if _is_notebook():
                    report.log_text(record.recorder, SCRIPT_FILE, _cells())
        except BaseException as exc:
            fail_run(record.recorder, exc, record.settings.notify)
            raise
        if isinstance(error, KeyboardInterrupt):
            record.recorder.finish("KILLED")
            return None
        if error is not None:
            fail_run(record.recorder, error, record.settings.notify)
            return None
        self.run = finish_run(record.recorder, record.store, record.listener, notify=record.settings.notify)
        record.listener.message(f"run {self.run.run_name} ({self.run.run_id[:8]}) is finished")
        return self.run

    def _note_error(self, error: BaseException) -> None:
        self._error = error

    def _close_at_end(self) -> None:
        try:
            self.close(self._error)
        except MlctlError as error:  # the process ends: it cannot be raised
            print(f"mlctl: {error.message}", file=sys.stderr)


def joined_session() -> ScriptSession | None:
    """Return the run of `mlctl train` that this process is part of; None if there is none."""
    return session.current() if _open is None else None


def open_session() -> ScriptSession:
    """Return the run that this process records; make one if there is none."""
    return session.current() or OwnRun().session


class _Lines(NullProgress):
    """Prints messages to stderr."""

    def message(self, text: str) -> None:
        """Print it."""
        print(f"mlctl: {text}", file=sys.stderr)


def _this_program() -> Program:
    """Return the program of this process; of a notebook a file to which its cells are written."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file and not _is_notebook():
        path = Path(file)
        return Program(file=path, import_folder=path.resolve().parent)
    path = Path(tempfile.mkdtemp(prefix="mlctl-notebook-")) / "notebook.py"
    path.write_text(_cells(), encoding="utf-8")
    return Program(file=path, import_folder=Path.cwd())


def _is_notebook() -> bool:
    return "IPython" in sys.modules and hasattr(sys.modules["__main__"], "get_ipython")


def _cells() -> str:
    """Return the executed cells of a notebook; of an interactive Python nothing is known."""
    cells = getattr(sys.modules["__main__"], "In", None)
    if isinstance(cells, list):
        return "\n\n".join(str(cell) for cell in cells if cell) + "\n"
    return f"# {shlex.join(sys.argv) or 'an interactive session'}\n"


def _at_end_of_process(
    close: Callable[[], None], note_error: Callable[[BaseException], None]
) -> Callable[[], None]:
    """Call `close` when the process ends, before its threads do; and `note_error` with what ends it.

    Return a function that takes this back.
    """
    active = True
    original = sys.excepthook

    def hook(kind: Any, error: BaseException, trace: Any) -> None:
        if active:
            note_error(error)
        original(kind, error, trace)

    def at_end() -> None:
        if active:
            close()

    sys.excepthook = hook
    threading._register_atexit(at_end)  # type: ignore[attr-defined]  # atexit comes after the threads, which saving needs

    def undo() -> None:
        nonlocal active
        active = False
        if sys.excepthook is hook:
            sys.excepthook = original

    return undo
