"""mlctl endpoints."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import FollowOption, LinesOption

EndpointArgument = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Name of an endpoint.")]


def list_endpoints(session: Session) -> None:
    """List the endpoints of this machine.

    \b
    mlctl endpoints list
    """
    from mlctl.services.serving import endpoints

    session.show(endpoints.list_endpoints(session.settings))


def logs(
    session: Session, endpoint: EndpointArgument, lines: LinesOption = 50, follow: FollowOption = False
) -> None:
    """Print the log of an endpoint: a line of JSON for each request, and events of its workers.

    \b
    mlctl endpoints logs Digits --follow
    """
    from mlctl.services.serving import endpoints

    with session.redirect_to_stdout():
        for line in endpoints.last_log_lines(session.settings, endpoint, lines):
            print(line)
        if follow:
            for line in endpoints.follow_log(session.settings, endpoint):
                print(line, flush=True)


def show(session: Session, endpoint: EndpointArgument) -> None:
    """Show an endpoint: its versions and their traffic, its rollout, its shadow and its workers.

    \b
    mlctl endpoints show Digits
    mlctl endpoints show Digits -o json
    """
    from mlctl.services.serving import endpoint_control

    session.show(endpoint_control.show_endpoint(session.settings, endpoint))


def stop(session: Session, endpoint: EndpointArgument) -> None:
    """Stop an endpoint after it has answered the requests in progress.

    \b
    mlctl endpoints stop Digits
    """
    from mlctl.services.serving import endpoints

    session.show(endpoints.stop_endpoint(session.settings, endpoint))
