"""mlctl runs watch."""

from __future__ import annotations

from mlctl import output
from mlctl.cli.common_options import Format, Session
from mlctl.cli.options import ExperimentFilter, RunArgument
from mlctl.errors import Interrupted


def watch(session: Session, run: RunArgument, experiment: ExperimentFilter = None) -> None:
    """Follow a run that trains on this or another machine until it ends.

    \b
    mlctl runs watch last
    mlctl runs watch imdb-7 | tee log.txt
    """
    from mlctl.services.runs import watch as service

    snapshots = service.watch_run(session.settings.tracking_uri, run, experiment)
    try:
        with session.redirect_to_stdout():
            last = output.follow(snapshots, quiet=session.format is not Format.table)
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped watching; the run continues", f"mlctl runs watch {run} follows it again"
        ) from None
    service.tell_if_lost(session.settings, last.run)
    if session.format is not Format.table:
        session.show(last.run)
    output.hint(f"next: mlctl runs show {last.run.run_name}")
