"""mlctl users."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.secret_prompt import read_new_password

NewNameArgument = Annotated[str, typer.Argument(metavar="USER", help="Name of the new user.")]
NameArgument = Annotated[str, typer.Argument(metavar="USER", help="Name of a user.")]
WhoArgument = Annotated[str, typer.Argument(metavar="USER", help="Name of a user, or @NAME of a group.")]
WhatArgument = Annotated[
    str,
    typer.Argument(metavar="WHAT", help="none, read, edit or manage; or @GROUP, to join it; or admin."),
]
RevokedArgument = Annotated[
    str | None, typer.Argument(metavar="[WHAT]", help="@GROUP, to leave it; or admin.")
]
PasswordFileOption = Annotated[
    str | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="File with the password; - reads stdin (default: ask for it).",
    ),
]
AdminOption = Annotated[bool, typer.Option("--admin", help="Make the user an administrator.")]
ExperimentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--experiment", "-e", metavar="NAME", help="Experiment; '*' is every one. Repeat it for more."
    ),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="Registered model; '*' is every one. Repeat it for more."),
]


def list_users(session: Session) -> None:
    """List users and groups with their permissions.

    \b
    mlctl users list --tracking-uri https://mlflow.example.com
    """
    from mlctl.services.server import users

    session.show(users.list_users(session.settings.tracking_uri))


def add(
    session: Session,
    name: NewNameArgument,
    admin: AdminOption = False,
    password_file: PasswordFileOption = None,
) -> None:
    """Add a user. The password has at least 12 characters.

    \b
    mlctl users add ada
    mlctl users add ada --password-file - < password
    """
    from mlctl.services.server import users

    password = read_new_password(name, password_file)
    answer = users.add_user(session.settings.tracking_uri, name, password, is_admin=admin)
    session.show(answer, "" if admin else f"next: mlctl users grant {quote(name)} edit --experiment NAME")


def password(session: Session, name: NameArgument, password_file: PasswordFileOption = None) -> None:
    """Change a user's password, or your own. The server refuses the old one within a second.

    \b
    mlctl users password ada
    """
    from mlctl.services.server import users

    new_password = read_new_password(name, password_file)
    session.show(users.change_password(session.settings.tracking_uri, name, new_password))


def delete(session: Session, name: WhoArgument) -> None:
    """Delete a user or a group with all permissions. Runs and models stay.

    \b
    mlctl users delete ada --yes
    mlctl users delete @analysts --yes
    """
    from mlctl.services.server import users

    session.confirm(f"Delete {name}?")
    session.show(users.delete(session.settings.tracking_uri, name))


def grant(
    session: Session,
    name: WhoArgument,
    what: WhatArgument,
    experiment: ExperimentOption = None,
    model: ModelOption = None,
) -> None:
    """Give a user or a group a permission for experiments and models.

    \b
    mlctl users grant ada edit --experiment fraud --model Fraud
    mlctl users grant @analysts read --experiment '*'
    mlctl users grant ada @analysts

    A group is created with its first permission. Only who may manage a model may move its stages.
    """
    from mlctl.services.server import users

    uri = session.settings.tracking_uri
    session.show(users.grant(uri, name, what, experiments=experiment or (), models=model or ()))


def revoke(
    session: Session,
    name: WhoArgument,
    what: RevokedArgument = None,
    experiment: ExperimentOption = None,
    model: ModelOption = None,
) -> None:
    """Take back a permission, a membership or an administrator's rights.

    \b
    mlctl users revoke ada --experiment fraud
    mlctl users revoke ada @analysts
    """
    from mlctl.services.server import users

    uri = session.settings.tracking_uri
    session.show(users.revoke(uri, name, what or "", experiments=experiment or (), models=model or ()))
