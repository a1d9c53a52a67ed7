"""mlctl runs stop."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl import output
from mlctl.cli.common_options import Session
from mlctl.cli.options import ExperimentFilter, RunArgument
from mlctl.cli.promote import ReasonOption

WAIT_S = 30.0
NoWaitOption = Annotated[
    bool, typer.Option("--no-wait", help="Return at once, without waiting until the run has stopped.")
]


def stop(
    session: Session,
    run: RunArgument,
    reason: ReasonOption = "",
    no_wait: NoWaitOption = False,
    experiment: ExperimentFilter = None,
) -> None:
    """Stop a training, a search, a trial or a script, on whatever machine it runs.

    \b
    mlctl runs stop imdb-7 --reason "wrong data"
    mlctl runs stop last

    The run ends as after Ctrl-C, within ten seconds: its best model so far is logged, and its status is KILLED.
    mlctl resume continues it.
    """
    from mlctl.services.runs import stop as service

    answer = service.stop_run(
        session.settings.tracking_uri,
        run,
        reason=reason,
        wait_s=0 if no_wait else WAIT_S,
        experiment=experiment,
    )
    stopped = answer.runs[0]
    session.show(answer, f"next: mlctl runs show {stopped.run_name}")
    if stopped.status == "RUNNING" and not no_wait:
        output.warn("the run has not stopped yet: it stops as soon as its process reads the request")
