"""mlctl runs watch."""

from __future__ import annotations

from mlctl.cli.common_options import Format, Session
from mlctl.cli.options import RunArgument
from mlctl.cli.runs.list import Experiment
from mlctl.errors import Interrupted


def watch(session: Session, run: RunArgument, experiment: Experiment = None) -> None:
    """Follow a run that is being trained, here or on another machine, until it ends.

    \b
    mlctl runs watch last
    mlctl runs watch imdb-7 | tee log.txt
    """
    from mlctl import output
    from mlctl.services.runs import watch as service

    snapshots = service.follow(session.settings.tracking_uri, run, experiment)
    try:
        with session.answer():
            last = output.follow(snapshots, quiet=session.format is not Format.table)
    except KeyboardInterrupt:
        raise Interrupted("no longer watching; the run goes on", f"mlctl runs watch {run}") from None
    if session.format is not Format.table:
        session.show(last.run)
    output.hint(f"next: mlctl runs show {last.run.run_name}")
