"""mlctl experiments."""

from __future__ import annotations

from mlctl.cli.common_options import Session


def list_experiments(session: Session) -> None:
    """List the experiments with the number of runs in each.

    \b
    mlctl experiments list
    """
    from mlctl.services.runs import listing

    answer = listing.list_experiments(session.settings.tracking_uri)
    session.show(answer, "next: mlctl runs list --experiment NAME")
