"""mlctl endpoints drift."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.endpoints import EndpointArgument
from mlctl.cli.options import HtmlOption
from mlctl.units import parse_duration

SinceOption = Annotated[
    str,
    typer.Option("--since", metavar="DURATION", help="Compare the requests of this time, such as 24h or 7d."),
]


def drift(
    session: Session, endpoint: EndpointArgument, since: SinceOption = "24h", html: HtmlOption = None
) -> None:
    """Compare an endpoint's logged requests with the data that its model was trained on.

    \b
    mlctl endpoints drift Digits
    mlctl endpoints drift Digits --since 7d --html drift.html

    The endpoint must have been started with --log-requests. The features that drifted most come first. With feedback,
    the live score is shown beside the score at training.
    """
    from mlctl.services.serving import drift as service

    if html is not None:
        session.confirm_overwriting(html)
    answer = service.drift_report(session.settings, endpoint, parse_duration(since), html)
    session.show(
        answer,
        f"next: open {answer.file} in a browser"
        if answer.file
        else f"next: mlctl endpoints drift {endpoint} --html drift.html",
    )
