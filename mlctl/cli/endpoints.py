"""mlctl endpoints: what is served on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session, with_common_options

app = typer.Typer(no_args_is_help=True, help="List, read and stop the endpoints of this machine.")

Name = Annotated[str, typer.Argument(metavar="ENDPOINT", help="An endpoint's name.")]


@app.command("list")
@with_common_options
def list_(session: Session) -> None:
    """List the endpoints of this machine.

    \b
    mlctl endpoints list
    """
    from mlctl.services.serving import endpoints

    session.show(endpoints.listed(session.settings))


@app.command()
@with_common_options
def logs(
    session: Session,
    endpoint: Name,
    lines: Annotated[int, typer.Option("--lines", min=0, help="How many, from its end.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
) -> None:
    """Print an endpoint's log: a line of JSON a request, and what happened to its workers.

    \b
    mlctl endpoints logs Digits --follow
    """
    from mlctl.services.serving import endpoints

    with session.answer():
        for line in endpoints.tail(session.settings, endpoint, lines):
            print(line)
        if follow:
            for line in endpoints.follow(session.settings, endpoint):
                print(line, flush=True)


@app.command()
@with_common_options
def stop(session: Session, endpoint: Name) -> None:
    """Stop an endpoint; requests that are being answered are answered.

    \b
    mlctl endpoints stop Digits
    """
    from mlctl.services.serving import endpoints

    session.show(endpoints.stop(session.settings, endpoint))
