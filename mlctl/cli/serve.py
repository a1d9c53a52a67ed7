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
from mlctl.units import parse_duration, parse_share, parse_size

TRAFFIC = "Logged requests"


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
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse requests with unknown columns or keys, or with missing values in a column that had none in "
        "training.",
        rich_help_panel=LIMITS,
    ),
]
BatchOption = Annotated[
    str,
    typer.Option(
        "--batch",
        metavar="auto|off|N",
        help="Answer the requests of several clients in one call of the model: if that is measured to be faster "
        "(auto), never (off), or up to N rows together.",
        rich_help_panel=LIMITS,
    ),
]
CorsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--cors",
        metavar="ORIGIN",
        help="Origin whose web pages may use the endpoint, such as https://app.example.com, or * for all. Can be "
        "given several times.",
        rich_help_panel=NETWORK,
    ),
]
LogRequestsOption = Annotated[
    str | None,
    typer.Option(
        "--log-requests",
        metavar="SHARE",
        help="Log this share of the requests with their answers, such as 1%, for mlctl endpoints drift.",
        rich_help_panel=TRAFFIC,
    ),
]
RedactOption = Annotated[
    list[str] | None,
    typer.Option(
        "--redact",
        metavar="COLUMN",
        help="Input column that is not logged. Can be given several times.",
        rich_help_panel=TRAFFIC,
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
AllowSignatureChangeOption = Annotated[
    bool,
    typer.Option(
        "--allow-signature-change",
        help="With --watch, also serve a version whose input or answers have another signature.",
        rich_help_panel=EXECUTION,
    ),
]
MaxQueueOption = Annotated[
    int,
    typer.Option(
        "--max-queue",
        metavar="N",
        min=0,
        help="Number of requests that may wait in each worker; further ones are answered 503.",
        rich_help_panel=LIMITS,
    ),
]
LogSizeOption = Annotated[
    str,
    typer.Option(
        "--log-size",
        metavar="SIZE",
        help="With --detach, begin a new log file at this size; one earlier file is kept.",
        rich_help_panel=LIMITS,
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
ShadowOption = Annotated[
    str | None,
    typer.Option(
        "--shadow",
        metavar="MODEL",
        help="Send copies of requests to this model too, after they were answered, and compare the answers.",
        rich_help_panel=EXECUTION,
    ),
]
ShadowShareOption = Annotated[
    str,
    typer.Option(
        "--shadow-share",
        metavar="SHARE",
        help="Share of the requests of which the shadow gets copies.",
        rich_help_panel=EXECUTION,
    ),
]
EnvManagerOption = Annotated[
    EnvManager,
    typer.Option(
        "--env-manager",
        metavar="ENV",
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
    cors: CorsOption = None,
    max_body: MaxBodyOption = "10MB",
    timeout: TimeoutOption = "30s",
    max_queue: MaxQueueOption = 64,
    log_size: LogSizeOption = "10MB",
    strict: StrictOption = False,
    batch: BatchOption = "auto",
    log_requests: LogRequestsOption = None,
    redact: RedactOption = None,
    workers: WorkersOption = 1,
    metrics: MetricsOption = True,
    watch: WatchOption = False,
    allow_signature_change: AllowSignatureChangeOption = False,
    detach: DetachOption = False,
    name: NameOption = None,
    shadow: ShadowOption = None,
    shadow_share: ShadowShareOption = "100%",
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
        max_queue=max_queue,
        log_size=parse_size(log_size),
        strict=strict,
        batch=batch,
        log_requests=parse_share(log_requests, "--log-requests") if log_requests else 0.0,
        redact=tuple(redact or ()),
        allowed_hosts=tuple(allowed_host or ()),
        cors=tuple(cors or ()),
        insecure=insecure,
        watch=watch,
        allow_signature_change=allow_signature_change,
        detach=detach,
        name=name,
        shadow=shadow,
        shadow_share=parse_share(shadow_share, "--shadow-share"),
    )
    if env_manager is not EnvManager.local:
        service.serve_with_env_manager(session.settings, options, env_manager.value)
    endpoint = service.serve(session.settings, options)
    session.show(
        endpoint, f"next: mlctl predict {endpoint.url} INPUT, or mlctl endpoints stop {endpoint.name}"
    )
