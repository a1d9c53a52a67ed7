"""mlctl login."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.secret_prompt import read_password

UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="Address of the tracking server.")]
UsernameOption = Annotated[
    str, typer.Option("--username", "-u", metavar="USER", help="Your user name on the server.")
]
PasswordFileOption = Annotated[
    str | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="File with the password; - reads stdin (default: ask for it).",
    ),
]
CaCertOption = Annotated[
    Path | None,
    typer.Option(
        "--ca-cert",
        metavar="FILE",
        help="Certificate (PEM) to trust, if the server's certificate is self-signed.",
    ),
]


def login(
    session: Session,
    url: UrlArgument,
    username: UsernameOption = "admin",
    password_file: PasswordFileOption = None,
    ca_cert: CaCertOption = None,
) -> None:
    r"""Store your user name and password for a tracking server.

    \b
    mlctl login https://mlflow.example.com -u ada

    mlctl checks them with the server first. Only you can read the file that stores them, and all commands use it.
    """
    from mlctl.services.server.login import login as service

    password = read_password(f"password of {username}", password_file)
    answer = service(url, username, password, ca_file=ca_cert)
    session.show(answer, f"next: mlctl runs list --tracking-uri {url}")
