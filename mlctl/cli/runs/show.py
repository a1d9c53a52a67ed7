"""mlctl runs show."""

from __future__ import annotations

from mlctl.cli.common_options import Session
from mlctl.cli.options import ExperimentFilter, RunArgument


def show(session: Session, run: RunArgument, experiment: ExperimentFilter = None) -> None:
    """Show a run: metrics and their course, parameters, data, artifacts and environment.

    \b
    mlctl runs show last
    mlctl runs show best --experiment imdb
    mlctl runs show best:test_accuracy -o json
    """
    from mlctl.services.runs import listing

    answer = listing.show_run(session.settings.tracking_uri, run, experiment)
    next_command = f"mlctl runs plot {answer.run.run_name}"
    if answer.is_search:
        next_command = f"mlctl runs list --where 'parent = {answer.run.run_id}'"
    session.show(answer, f"next: {next_command}")
