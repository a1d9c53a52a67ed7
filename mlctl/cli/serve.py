"""mlctl serve."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import (
    EXECUTION,
    LIMITS,
    NETWORK,
    AllowedHostOption,
    HostOption,
    InsecureOption,
    MetricsOption,
    ModelArgument,
    PortOption,
    TlsCertOption,
    TlsKeyOption,
)
from mlctl.units import parse_duration, parse_size


class EnvManager(StrEnum):
    """Environment of the model: mlctl's own, or one that MLflow creates from the model's requirements."""

    local = "local"
    virtualenv = "virtualenv"
    uv = "uv"


KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        metavar="FILE",
        help="Require an API key from this file, which mlctl keys new writes.",
        rich_help_panel=NETWORK,
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        max=64,
        help="Number of processes that answer requests.",
        rich_help_panel=EXECUTION,
    ),
]
MaxBodyOption = Annotated[
    str,
    typer.Option(
        "--max-body",
        metavar="SIZE",
        help="Largest request body that the endpoint accepts, such as 20MB.",
        rich_help_panel=LIMITS,
    ),
]
TimeoutOption = Annotated[
    str,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        help="Time limit for receiving a request's body, and for the model to answer it, such as 90s.",
        rich_help_panel=LIMITS,
    ),
]
WatchOption = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Follow the registry: load the new version when the stage or the alias of MODEL moves.",
        rich_help_panel=EXECUTION,
    ),
]
DetachOption = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="Return when the endpoint is ready, and keep it running in the background.",
        rich_help_panel=EXECUTION,
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="ENDPOINT",
        help="Name of the endpoint (default: the model's name).",
        rich_help_panel=EXECUTION,
    ),
]
EnvManagerOption = Annotated[
    EnvManager,
    typer.Option(
        "--env-manager",
        help="Environment of the model: local is mlctl's own; with virtualenv and uv, mlflow models serve "
        "creates one from the model's requirements.",
        rich_help_panel=EXECUTION,
    ),
]


def serve(
    session: Session,
    model: ModelArgument,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    api_key_file: KeyFileOption = None,
    insecure: InsecureOption = False,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    allowed_host: AllowedHostOption = None,
    max_body: MaxBodyOption = "10MB",
    timeout: TimeoutOption = "30s",
    workers: WorkersOption = 1,
    metrics: MetricsOption = True,
    watch: WatchOption = False,
    detach: DetachOption = False,
    name: NameOption = None,
    env_manager: EnvManagerOption = EnvManager.local,
) -> None:
    """Serve a model over HTTP to MLflow clients.

    \b
    mlctl serve Digits --detach
    mlctl serve Digits --watch
    mlctl serve ./model --host 0.0.0.0 --api-key-file keys

    The first example serves the Production version at http://127.0.0.1:8000 in the background. The second one also
    serves each version that is promoted later.
    """
    from mlctl.services.serving import serve as service

    options = service.EndpointOptions(
        model=model,
        host=host,
        port=port,
        workers=workers,
        key_file=api_key_file,
        tls_cert=tls_cert,
        tls_key=tls_key,
        metrics=metrics,
        max_body=parse_size(max_body),
        timeout_s=parse_duration(timeout),
        allowed_hosts=tuple(allowed_host or ()),
        insecure=insecure,
        watch=watch,
        detach=detach,
        name=name,
    )
    if env_manager is not EnvManager.local:
        service.serve_with_env_manager(session.settings, options, env_manager.value)
    endpoint = service.serve(session.settings, options)
    session.show(
        endpoint, f"next: mlctl predict {endpoint.url} INPUT, or mlctl endpoints stop {endpoint.name}"
    )
