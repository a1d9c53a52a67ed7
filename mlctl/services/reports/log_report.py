"""The report of a run as one of its artifacts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.errors import MlctlError, NotFoundError
from mlctl.services.reports.report import write_report
from mlctl.settings import Settings

ARTIFACT = "report.html"


def log_report(settings: Settings, store: TrackingStore, run: Run, listener: ProgressListener) -> None:
    """Log the report of a finished run; what prevents it is said in one line, because the run is kept."""
    listener.stage("writing the report")
    later = f"later: mlctl runs report {run.run_name}"
    try:
        with tempfile.TemporaryDirectory(prefix="mlctl-report-") as scratch:
            file = Path(scratch) / ARTIFACT
            write_report(settings, [run.run_id], file)
            with store.translate_errors():
                store.mlflow_client.log_artifact(run.run_id, str(file))
    except NotFoundError:  # an offline run, or one that the store has not got yet
        listener.message(
            "the report is not logged, because the store does not have the run yet;"
            f" after mlctl sync: mlctl runs report {run.run_name or 'last'}"
        )
    except MlctlError as error:
        listener.message(f"the report is not logged: {error.message}; {later}")
    except Exception as error:  # what another program has logged may be of any form
        listener.message(f"the report is not logged: {type(error).__name__}: {error}; {later}")
    else:
        listener.message(
            f"wrote the report; to read it: mlctl runs artifacts {run.run_name} --get {ARTIFACT}"
        )
