"""mlctl tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.units import parse_duration

NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the token, such as nightly.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the token.")]
OwnerOption = Annotated[
    str | None, typer.Option("--user", metavar="USER", help="User whose rights it has (default: you).")
]
ExpiresOption = Annotated[
    str, typer.Option("--expires", metavar="DURATION", help="When it expires, such as 12h or 90d.")
]


def new(
    session: Session, name: NewNameArgument, user: OwnerOption = None, expires: ExpiresOption = "30d"
) -> None:
    """Create a token and show it once; the server keeps only its SHA-256 hash.

    \b
    mlctl tokens new nightly --user ci --expires 90d > ci.token

    A program uses it as MLFLOW_TRACKING_TOKEN. It has the rights of its user, but cannot change users or tokens.
    """
    from mlctl.services.server import tokens

    uri = session.settings.tracking_uri
    answer = tokens.create_token(uri, name, username=user, lifetime_s=parse_duration(expires))
    session.show(answer, f"it acts for {answer.username}; revoke it: mlctl tokens revoke {name}")


def list_tokens(session: Session) -> None:
    """List your tokens; an administrator sees those of all users.

    \b
    mlctl tokens list
    """
    from mlctl.services.server import tokens

    session.show(tokens.list_tokens(session.settings.tracking_uri))


def revoke(session: Session, name: NameArgument) -> None:
    """Revoke a token; the server refuses it within a second.

    \b
    mlctl tokens revoke nightly
    """
    from mlctl.services.server import tokens

    session.show(tokens.revoke_token(session.settings.tracking_uri, name))
