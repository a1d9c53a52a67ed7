"""mlctl server-status, server-logs and server-down."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import FollowOption, LinesOption
from mlctl.cli.server_options import NameOption
from mlctl.units import parse_duration

AllOption = Annotated[bool, typer.Option("--all", help="List all servers that were started on this machine.")]
GraceOption = Annotated[
    str,
    typer.Option(
        "--grace", metavar="DURATION", help="Time for requests in progress to finish, such as 10s or 2m."
    ),
]


def server_status(session: Session, name: NameOption = "main", all_: AllOption = False) -> None:
    r"""Show the process, the database and the contents of a tracking server.

    \b
    mlctl server-status
    mlctl server-status --all -o json
    """
    from mlctl.services.server import status

    state_dir = session.settings.state_dir
    session.show(status.all_server_statuses(state_dir) if all_ else status.server_status(name, state_dir))


def server_logs(
    session: Session, name: NameOption = "main", lines: LinesOption = 50, follow: FollowOption = False
) -> None:
    r"""Print the log of a tracking server.

    \b
    mlctl server-logs --lines 20
    mlctl server-logs --follow
    """
    from mlctl.services.server import logs

    with session.redirect_to_stdout():
        for line in logs.tail_log(name, lines, session.settings.state_dir):
            print(line)
        if follow:
            for line in logs.follow_log(name, session.settings.state_dir):
                print(line, flush=True)


def server_down(session: Session, name: NameOption = "main", grace: GraceOption = "30s") -> None:
    r"""Stop a tracking server.

    \b
    mlctl server-down
    mlctl server-down --grace 2m

    The server finishes the requests in progress. If it is still running after --grace, mlctl kills it. mlctl stops only
    the process that server-up started.
    """
    from mlctl.services.server.down import stop_server

    session.show(stop_server(name, parse_duration(grace), session.settings.state_dir))
