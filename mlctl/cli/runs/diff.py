"""mlctl runs diff."""

from __future__ import annotations

from mlctl.cli.common_options import Session
from mlctl.cli.options import ExperimentFilter, RunArgument


def diff(session: Session, a: RunArgument, b: RunArgument, experiment: ExperimentFilter = None) -> None:
    """Show only what differs between two runs.

    \b
    mlctl runs diff best last
    mlctl runs diff 3f2a 91bc -o json
    """
    from mlctl.services.runs import compare

    answer = compare.diff_runs(session.settings.tracking_uri, a, b, experiment)
    session.show(answer, f"next: mlctl runs plot {answer.a.run_name} {answer.b.run_name}")
