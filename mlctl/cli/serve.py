"""mlctl serve."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session

REACHED, ALIVE = "Who may reach it", "How it runs"


class EnvManager(StrEnum):
    """In which environment the model runs: ours, or one that MLflow makes from its requirements."""

    local = "local"
    virtualenv = "virtualenv"
    uv = "uv"


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="NAME (its Production version), NAME/3, NAME@alias, a RUN, a URI, a folder."
    ),
]
Host = Annotated[str, typer.Option(help="The address to listen on.", rich_help_panel=REACHED)]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.", rich_help_panel=REACHED)
]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes that answer.", rich_help_panel=ALIVE)]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file", metavar="FILE", help="Ask for a key of mlctl keys new.", rich_help_panel=REACHED
    ),
]
Pem = Annotated[Path | None, typer.Option(metavar="PEM", help="Serve https.", rich_help_panel=REACHED)]
PemKey = Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.", rich_help_panel=REACHED)]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A name it may be asked by; repeatable.", rich_help_panel=REACHED),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Let everybody in, from other machines too.", rich_help_panel=REACHED),
]
Metrics = Annotated[bool, typer.Option(help="Prometheus at /metrics.", rich_help_panel=ALIVE)]
MaxBody = Annotated[str, typer.Option(metavar="SIZE", help="The largest body taken.", rich_help_panel=ALIVE)]
Timeout = Annotated[
    str, typer.Option(metavar="DURATION", help="For a body, and for the model.", rich_help_panel=ALIVE)
]
Watch = Annotated[
    bool, typer.Option("--watch", help="Follow the registry: a promotion is served.", rich_help_panel=ALIVE)
]
Detach = Annotated[
    bool, typer.Option("--detach", help="Return when it is ready; it goes on.", rich_help_panel=ALIVE)
]
Name = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="The endpoint's name; default: the model's.", rich_help_panel=ALIVE),
]
Manager = Annotated[
    EnvManager, typer.Option("--env-manager", help="The model's environment.", rich_help_panel=ALIVE)
]


def serve(
    session: Session,
    model: Model,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    workers: Workers = 1,
    api_key_file: KeyFile = None,
    tls_cert: Pem = None,
    tls_key: PemKey = None,
    allow_host: AllowHost = None,
    insecure: Insecure = False,
    metrics: Metrics = True,
    max_body: MaxBody = "10MB",
    timeout: Timeout = "30s",
    watch: Watch = False,
    detach: Detach = False,
    name: Name = None,
    env_manager: Manager = EnvManager.local,
) -> None:
    """Serve a model over HTTP, as any MLflow client expects it.

    \b
    mlctl serve Digits --detach          its Production version, at http://127.0.0.1:8000
    mlctl serve Digits --watch           promotions are served as they come
    mlctl serve ./model --host 0.0.0.0 --api-key-file keys
    """
    from mlctl.cli.values import seconds, size
    from mlctl.services.serving.serve import EndpointOptions, in_its_environment
    from mlctl.services.serving.serve import serve as serve_model

    wish = EndpointOptions(
        model, host, port, workers, api_key_file, tls_cert, tls_key, metrics, size(max_body), seconds(timeout),
        tuple(allow_host or ()), insecure, watch, detach, name,
    )  # fmt: skip
    if env_manager is not EnvManager.local:
        in_its_environment(session.settings, wish, env_manager.value)
    endpoint = serve_model(session.settings, wish)
    session.show(
        endpoint, f"next: mlctl predict {endpoint.url} INPUT, or mlctl endpoints stop {endpoint.name}"
    )
