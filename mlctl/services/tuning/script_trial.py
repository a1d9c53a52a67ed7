"""One trial of a search of a script, run in a process of its own: `python -m` runs this module on workers without fork.

The worker waits for the process, and passes its epochs on. A process that dies loses the trial, not the worker.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from mlctl.adapters.runlog.script_redirection import redirected_mlflow
from mlctl.adapters.scripts import execution, keras_hooks
from mlctl.adapters.scripts.trial_process import ProcessLost, TrialProcess, last_lines, output_to
from mlctl.adapters.search import local_executor
from mlctl.adapters.search.messages import (
    EpochEnded,
    ReportEpoch,
    TrialEnd,
    TrialEnded,
    TrialFailed,
    TrialJob,
    WorkerLost,
)
from mlctl.domain.progress import Epoch
from mlctl.domain.script_flags import trial_arguments
from mlctl.errors import MlctlError
from mlctl.services.scripts import session
from mlctl.services.scripts.failures import raise_failure
from mlctl.services.scripts.trial_observer import TrialObserver
from mlctl.services.scripts.trial_record import TrialRecord
from mlctl.services.tuning.script_files import TRIAL_VARIABLE
from mlctl.services.tuning.script_setup import ScriptSetup

AFTER_STOP_S = 30.0  # what a script may do after the `fit` that the search has stopped
MODULE = "mlctl.services.tuning.script_trial"  # this one
EXECUTION = "execution"  # first argument of this module in the process of an execution


def train_script_trial(setup: ScriptSetup, job: TrialJob, report_epoch: ReportEpoch) -> TrialEnd:
    """Run the script of a trial, as often as it has executions; `report_epoch` stops it by returning False."""
    started = time.perf_counter()
    ends: list[TrialEnded] = []
    for number in range(1, job.executions + 1):
        end, is_stopped = _run_execution(setup, job, number, report_epoch)
        if not isinstance(end, TrialEnded):
            return end
        ends.append(end)
        if is_stopped:
            break
    return TrialEnded(
        job.trial, job.attempt, time.perf_counter() - started, _means([end.metrics for end in ends])
    )


def _run_execution(
    setup: ScriptSetup, job: TrialJob, number: int, report_epoch: ReportEpoch
) -> tuple[TrialEnd, bool]:
    """Run the script once; return how it ended, and whether the search has stopped it."""
    is_stopped = False
    process = _start(setup, job, number)
    try:
        while True:
            message = process.receive(AFTER_STOP_S if is_stopped else None)
            if not isinstance(message, Epoch):
                end: TrialEnd = message
                return end, is_stopped
            proceed = report_epoch(EpochEnded(job.trial, job.attempt, number, message))
            is_stopped = is_stopped or not proceed
            process.send(not is_stopped)
    except TimeoutError:  # the search does not wait for the rest of a script that it has stopped
        return TrialEnded(job.trial, job.attempt, 0.0), True
    except ProcessLost as error:
        if is_stopped:
            return TrialEnded(job.trial, job.attempt, 0.0), True
        return WorkerLost(job.trial, job.attempt, str(error), last_lines(job.log_to)), False
    finally:
        process.close()


def _start(setup: ScriptSetup, job: TrialJob, number: int) -> TrialProcess:
    if setup.fork:
        return TrialProcess.fork(partial(run_execution, setup, job, number))
    process = TrialProcess.start(MODULE, [EXECUTION])
    process.send((setup, job, number))
    return process


def run_execution(setup: ScriptSetup, job: TrialJob, number: int, connection: Connection) -> None:
    """Run the script in this process, and send its epochs and its end; this process ends then."""
    started = time.perf_counter()

    def report(epoch: Epoch) -> bool:
        connection.send(epoch)
        return bool(connection.recv())

    def end() -> NoReturn:
        sys.stdout.flush()
        connection.send(TrialEnded(job.trial, job.attempt, time.perf_counter() - started))
        os._exit(0)

    # it is created if the script uses MLflow, and deleted with the record of the search
    folder = Path(job.log_to).parent / str(number) if job.log_to else Path(tempfile.gettempdir())
    with output_to(job.log_to):
        try:
            program = execution.find_program(setup.script.script, setup.script.module)
            record = TrialRecord(setup.script, program, folder, lambda: observer.last_model)
            observer = TrialObserver(
                script=setup.script,
                epochs=job.epochs or None,
                execution=number,
                record=record,
                report=report,
                end=end,
            )
            metrics = _run_script(setup, job, observer)
            outcome: TrialEnd = TrialEnded(job.trial, job.attempt, time.perf_counter() - started, metrics)
        except MlctlError as error:
            outcome = TrialFailed(job.trial, job.attempt, error.message)
    if isinstance(outcome, TrialFailed):
        outcome = replace(outcome, output=last_lines(job.log_to))
    connection.send(outcome)
    os._exit(0)  # the clean-up of an interpreter with TensorFlow takes a second


def _run_script(setup: ScriptSetup, job: TrialJob, observer: TrialObserver) -> dict[str, float]:
    """Run the script; return what it has measured at its end: what it has evaluated, and logged to MLflow."""
    script = setup.script
    arguments = trial_arguments(script.arguments, job.values, style=setup.flag_style, trial=job.trial)
    print("$", *script.command, *arguments)
    os.environ[TRIAL_VARIABLE] = job.trial
    if keras := sys.modules.get("keras"):
        keras.config.enable_interactive_logging()  # mlctl has turned it off for itself
    record, program = observer.record, observer.record.program
    with keras_hooks.observed(observer), redirected_mlflow(record.mlflow), session.joined(record, observer):
        outcome = execution.run(program, arguments)
    if outcome.error is not None and not isinstance(outcome.error, SystemExit):
        print(execution.traceback_text(outcome.error, program), file=sys.stderr)
    raise_failure(program, outcome)
    logged = record.metrics()
    return {**observer.results, **{name: logged[name] for name in logged if name not in observer.measured}}


def _means(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric that all executions have."""
    names = [name for name in metrics[0] if all(name in others for others in metrics)]
    return {name: statistics.fmean(values[name] for values in metrics) for name in names}


if __name__ == "__main__":
    if sys.argv[1] == EXECUTION:
        _connection = Connection(int(sys.argv[2]))
        _setup, _job, _number = _connection.recv()
        run_execution(_setup, _job, _number, _connection)
    setup_file, descriptor, threads = sys.argv[1:]
    local_executor.run_worker(
        train_script_trial, ScriptSetup.load, setup_file=setup_file, descriptor=descriptor, threads=threads
    )
