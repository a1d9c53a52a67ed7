"""mlctl notify."""

from __future__ import annotations

from mlctl.cli.common_options import Session


def test(session: Session) -> None:
    r"""Send an example to the receivers of notifications, and say whether they took it.

    \b
    mlctl notify test

    The event of the example is test. Nothing is tried again.
    """
    from mlctl.services.project.notify import try_receivers

    session.show(try_receivers(session.settings))
