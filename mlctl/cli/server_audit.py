"""mlctl server-audit."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import LinesOption
from mlctl.cli.server_options import NameOption
from mlctl.units import parse_duration

UserOption = Annotated[str | None, typer.Option("--user", metavar="USER", help="Only what this user did.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="DURATION", help="Only the last 30m, 2h or 7d.")
]


def server_audit(
    session: Session,
    name: NameOption = "main",
    user: UserOption = None,
    since: SinceOption = None,
    lines: LinesOption = 50,
) -> None:
    r"""Show who changed what on a tracking server, when, and from where.

    \b
    mlctl server-audit
    mlctl server-audit --user ada --since 7d -o json

    Run it on the server's machine. Refused writes are listed too; values and passwords never are.
    """
    from mlctl.services.server import audit

    since_s = parse_duration(since) if since else None
    session.show(
        audit.read_audit_log(name, session.settings.state_dir, lines=lines, user=user, since_s=since_s)
    )
