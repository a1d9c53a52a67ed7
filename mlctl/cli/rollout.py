"""mlctl endpoints rollout."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.endpoints import EndpointArgument
from mlctl.errors import Interrupted, UsageError

ToOption = Annotated[
    str | None,
    typer.Option("--to", metavar="VERSION", help="Number or alias of the version that is to be served."),
]
StepsOption = Annotated[
    str,
    typer.Option(
        "--steps", metavar="SHARES", help="Shares of the requests that the version gets, up to 100%."
    ),
]
EveryOption = Annotated[
    str, typer.Option("--every", metavar="DURATION", help="Duration of a step, such as 90s, 10m or 2h.")
]
GuardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--guard",
        metavar="CONDITION",
        help="Return to the old version if this does not hold: error_rate<=1% (always checked), p50, p95 or "
        "p99<=50ms or <=1.2x of the old version's, agreement>=95%. Repeatable.",
    ),
]
StickyOption = Annotated[
    str,
    typer.Option(
        "--sticky", metavar="HEADER", help="Choose the version by the value of this header, not at random."
    ),
]
PromoteOption = Annotated[
    bool, typer.Option("--promote", help="Promote the version to Production at the end, through its gates.")
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Return when the rollout has begun; it goes on in the endpoint.")
]
AbortOption = Annotated[
    bool, typer.Option("--abort", help="End the rollout; the old version answers all requests again.")
]


def rollout(
    session: Session,
    endpoint: EndpointArgument,
    to: ToOption = None,
    steps: StepsOption = "5%,25%,100%",
    every: EveryOption = "10m",
    guard: GuardOption = None,
    sticky: StickyOption = "",
    promote: PromoteOption = False,
    detach: DetachOption = False,
    abort: AbortOption = False,
) -> None:
    """Send a growing share of an endpoint's requests to another version, and return if a guard does not hold.

    \b
    mlctl endpoints rollout Digits --to 4
    mlctl endpoints rollout Digits --to 4 --every 1h --guard 'p95<=1.2x' --promote
    mlctl endpoints rollout Digits --abort

    The endpoint runs the rollout, so Ctrl-C ends only this command. The history of the model records how it ended.
    """
    from mlctl import output
    from mlctl.output.rollout_watch import follow_rollout
    from mlctl.services.workflows import rollout as service

    if abort:
        if to is not None:
            raise UsageError("--abort and --to exclude each other", "give one of them")
        session.show(
            service.abort_rollout(session.settings, endpoint), f"next: mlctl endpoints show {endpoint}"
        )
        return
    if to is None:
        raise UsageError("no version is given", f"mlctl endpoints rollout {endpoint} --to VERSION")
    request = service.RolloutRequest(
        to=to, steps=steps, every=every, guards=tuple(guard or ()), sticky=sticky, promote=promote
    )
    started = service.start_rollout(session.settings, endpoint, request)
    next_step = (
        f"mlctl endpoints show {endpoint} shows it, mlctl endpoints rollout {endpoint} --abort ends it"
    )
    if detach:
        session.show(started, f"next: {next_step}")
        return
    try:
        last = follow_rollout(service.watch_rollout(session.settings, started))
    except KeyboardInterrupt:
        raise Interrupted("stopped watching; the rollout goes on in the endpoint", next_step) from None
    session.show(last)
    if last.status == "done" and not promote:
        output.hint(f"next: mlctl promote {last.model} {last.version} Production")
    service.require_done(last)
