"""mlctl webhooks."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session

NewNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of the new webhook.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of a webhook.")]
UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="Address that gets a POST for each event.")]
EventsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        metavar="EVENT",
        help="Event, such as model_version_alias.created. Can be given several times (default: all of models).",
    ),
]
SecretFileOption = Annotated[
    str | None,
    typer.Option(
        "--secret-file",
        metavar="FILE",
        help="File with the key that signs each POST; - reads stdin (default: not signed).",
    ),
]


def list_webhooks(session: Session) -> None:
    """List the webhooks of a tracking server.

    \b
    mlctl webhooks list --tracking-uri https://mlflow.example.com
    """
    from mlctl.services.server import webhooks

    session.show(webhooks.list_webhooks(session.settings.tracking_uri))


def add(
    session: Session,
    name: NewNameArgument,
    url: UrlArgument,
    event: EventsOption = None,
    secret_file: SecretFileOption = None,
) -> None:
    """Let the server post to an address when its registered models change.

    \b
    mlctl webhooks add ci https://ci.example.com/x --event model_version.created
    mlctl webhooks add chat https://chat.example.com/hook --secret-file key
    """
    from mlctl.files import read_secret
    from mlctl.services.server import webhooks

    secret = read_secret(secret_file, content="the key of the webhook") if secret_file else ""
    answer = webhooks.add_webhook(
        session.settings.tracking_uri, name, url, events=tuple(event or ()), secret=secret
    )
    session.show(answer, f"next: mlctl webhooks test {name}")


def delete(session: Session, name: NameArgument) -> None:
    """Delete a webhook.

    \b
    mlctl webhooks delete ci
    """
    from mlctl.services.server import webhooks

    session.confirm(f"Delete the webhook {name}?")
    session.show(webhooks.delete_webhook(session.settings.tracking_uri, name))


def test(session: Session, name: NameArgument) -> None:
    """Let the server send an example to a webhook, and show what the receiver answers.

    \b
    mlctl webhooks test ci
    """
    from mlctl.services.server import webhooks

    answer = webhooks.try_webhook(session.settings.tracking_uri, name)
    session.show(answer)
    webhooks.require_delivered(answer)
