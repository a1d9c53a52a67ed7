"""Everything that watches a script while it runs, and what is recorded when it has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlctl.adapters.runlog.script_redirection import redirected_mlflow
from mlctl.adapters.scripts import keras_hooks, tuner_hooks
from mlctl.adapters.scripts.output import PrintedOutput
from mlctl.adapters.scripts.read_files import ReadFiles
from mlctl.adapters.scripts.script_arguments import parsed_arguments
from mlctl.adapters.system import provenance
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run_queries import CHECKPOINT_FOLDER
from mlctl.domain.tags import DURATION_TAG, PEAK_MEMORY_TAG, SEED_TAG
from mlctl.services.scripts import session
from mlctl.services.scripts.observer import ScriptObserver
from mlctl.services.scripts.record import ScriptRecord
from mlctl.services.scripts.tuner_searches import TunedObserver, TunerSearches
from mlctl.services.training import report

if TYPE_CHECKING:
    from mlctl.services.scripts.result import ScriptResult

PATIENCE_S = 10.0  # with a store that does not take the runs of trials; mlctl sync sends them later
OUTPUT_FILE = "output.txt"  # the artifact with what the script printed


class ScriptWatch:
    """Watches one execution of a script for its run.

    Attributes:
        observer: Sees the script's calls of Keras.
        output: What the script has printed.
    """

    def __init__(self, record: ScriptRecord, observer: ScriptObserver, started: float | None = None) -> None:
        """Take a run and its observer; the run's duration counts from `started`, a monotonic time, or from now."""
        self.record, self.observer = record, observer
        self.output = PrintedOutput()
        record.listener = _Unrecorded(record.listener, self.output)
        settings = record.settings
        self._files = ReadFiles(
            [Path.cwd(), record.program.file.resolve().parent], [settings.state_dir, settings.cache_dir]
        )
        observer.fits.read_files = self._files
        self.searches = TunerSearches(record, observer)
        self._logger: ScriptResult | None = None
        record.get_result = self.result
        self._started = started or time.monotonic()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the block's code: Keras, MLflow, parsed arguments, files and output."""
        with (
            self._files.watched(),
            parsed_arguments(self.record.log_parsed),
            keras_hooks.observed(TunedObserver(self.observer, self.searches)),
            tuner_hooks.observed_tuners(self.searches),
            redirected_mlflow(self.record.mlflow),
            session.joined(self.record, self.observer),
            self.output.recorded(),
        ):
            yield

    @contextlib.contextmanager
    def output_logged(self) -> Iterator[None]:
        """Log what was printed after the block, however it ends."""
        try:
            yield
        except BaseException:
            self.searches.close(patience_s=1.0)
            raise
        finally:
            self.record.log_arguments()
            if text := self.output.text():
                report.log_text(self.record.recorder, OUTPUT_FILE, text)

    def result(self) -> ScriptResult:
        """Return what logs the script's model: when the script asks for it, or when it has ended."""
        from mlctl.services.scripts.result import ScriptResult  # it imports Keras, after the script has

        observer = self.observer
        if self._logger is None:
            self._logger = ScriptResult(
                record=self.record, models=observer.models, evaluations=(), fits=observer.fits
            )
        self._logger.evaluations, self._logger.own_epochs = observer.evaluations, observer.own_epochs
        return self._logger

    def log_result(self) -> None:
        """Record what the script has reached; its model is logged."""
        record, observer = self.record, self.observer
        record.describe_code()
        observer.checkpoints.close()
        self.searches.choose_model()
        if observer.last is not None or observer.models.chosen is not None or observer.own_epochs:
            with record.mlflow.silenced():
                self.result().log()
        else:
            record.listener.message(
                "the script calls no fit: no epochs and no model are recorded;"
                " mlctl.keras.RunRecorder records a loop of your own"
            )
        self.searches.close(patience_s=PATIENCE_S)
        recorder = record.recorder
        if (recorder.journal.files / CHECKPOINT_FOLDER).exists():
            recorder.delete_artifacts(CHECKPOINT_FOLDER)
        recorder.set_tags(
            {
                DURATION_TAG: round(time.monotonic() - self._started, 2),
                PEAK_MEMORY_TAG: round(provenance.peak_memory_mb()),
                **({} if observer.seed is None else {SEED_TAG: observer.seed}),
            }
        )


class _Unrecorded:
    """A listener whose lines are not part of what the script has printed."""

    def __init__(self, listener: ProgressListener, output: PrintedOutput) -> None:
        self._listener, self._output = listener, output

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._listener, name)
        if not callable(method):
            return method

        def call(*positional: Any, **named: Any) -> Any:
            with self._output.paused():
                return method(*positional, **named)

        return call
