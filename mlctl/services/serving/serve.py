"""Serve a model. All checks come first, and a failure leaves no process and no files behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from mlctl.adapters.system import daemon
from mlctl.adapters.system import listener as listening
from mlctl.adapters.system.state_files import StateFiles
from mlctl.domain.serving import Endpoint
from mlctl.errors import (
    BadDataError,
    ChildFailedError,
    NotFoundError,
    RefusedError,
    UsageError,
    did_you_mean,
)
from mlctl.services.serving.endpoints import endpoint_states, is_running
from mlctl.services.serving.folders import claim_folder
from mlctl.services.serving.keys import read_keys
from mlctl.services.serving.model_source import UNVERSIONED_MODEL, find_model
from mlctl.serving.endpoint_folder import EndpointFolder
from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion
from mlctl.settings import Settings

READY_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 5
ORIGIN = re.compile(r"https?://([\w.-]+|\[[0-9a-fA-F:.]+\])(:\d{1,5})?")
BATCH = re.compile(r"auto|off|[2-9]|[1-9]\d{1,3}")
SERVING_COMMAND = [sys.executable, "-m", "mlctl.serving"]
CONVERT_COMMAND = (sys.executable, "-m", "mlctl.adapters.conversion")
FOLLOW_COMMAND = (sys.executable, "-m", "mlctl.services.serving.follow")


@dataclass(frozen=True, kw_only=True)
class EndpointOptions:
    """The options of an endpoint.

    Attributes:
        model: MODEL, as the user typed it.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        workers: Number of worker processes.
        key_file: API key file; None accepts every client.
        tls_cert: Certificate in PEM format.
        tls_key: Private key of the certificate.
        metrics: Serve Prometheus metrics.
        max_body: Largest request body in bytes.
        timeout_s: Seconds for a request's body, and for the model's answer.
        batch: "auto", "off", or the most rows that the model answers in one call for several clients.
        strict: Refuse unknown columns and keys, and gaps in columns that had none in training.
        allowed_hosts: Further Host names that clients may use.
        cors: Origins whose web pages may use the endpoint; "*" stands for all.
        insecure: Accept every client, even on an address that other machines reach.
        watch: Serve each version that is promoted later.
        detach: Run in the background.
        name: Name of the endpoint; None derives it from the model.
        max_queue: Number of requests that may wait in each worker.
        allow_signature_change: With `watch`, serve versions with another signature too.
        log_size: Size at which a new log file is begun, in bytes.
        log_requests: Share of the requests that are logged, with their answers; 0 logs none.
        redact: Input columns that are not logged.
        shadow: MODEL that gets copies of requests; None for no shadow.
        shadow_share: Share of the requests of which the shadow gets copies.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    key_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    metrics: bool = True
    max_body: int = 10_000_000
    timeout_s: float = 30.0
    strict: bool = False
    batch: str = "auto"
    allowed_hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    insecure: bool = False
    watch: bool = False
    detach: bool = False
    name: str | None = None
    max_queue: int = 64
    allow_signature_change: bool = False
    log_size: int = 10_000_000
    log_requests: float = 0.0
    redact: tuple[str, ...] = ()
    shadow: str | None = None
    shadow_share: float = 1.0


def serve(settings: Settings, options: EndpointOptions) -> Endpoint:
    """Serve a model. Return its endpoint if `detach` is set; otherwise become the endpoint and never return.

    Raises:
        RefusedError: The port or name is in use, or other machines reach the address and no keys are required.
        ChildFailedError: The model cannot be served.
        MlctlError: The model cannot be found or fetched.
    """
    _check_options(options)
    listener = _open_listener(settings, options)
    try:
        source = find_model(settings, options.model)
        states = endpoint_states(settings)
        name = _endpoint_name(options, source.name)
        with states.lock(name, READY_TIMEOUT_S), _claimed_folder(states, name) as folder:
            serving = folder.accept(source.fetch(folder.new_incoming()))
            shadow = None
            if options.shadow:
                shadow = folder.accept(find_model(settings, options.shadow).fetch(folder.new_incoming()))
            folder.clear_incoming()
            if options.redact:
                _check_redacted(serving, options.redact)
            spec = EndpointSpec(
                serving=serving,
                endpoint=name,
                url=_url(options, listener),
                socket_fd=listener.fileno(),
                workers=options.workers,
                scratch=str(folder.path),
                log=str(states.path(name, ".log")) if options.detach else "",
                state_file=str(states.path(name)),
                key_file=_absolute(options.key_file),
                tls_cert=_absolute(options.tls_cert),
                tls_key=_absolute(options.tls_key),
                metrics=options.metrics,
                max_body=options.max_body,
                timeout_s=options.timeout_s,
                strict=options.strict,
                batch=options.batch,
                hosts=_accepted_hosts(options),
                cors=options.cors,
                follow=(*FOLLOW_COMMAND, options.model, serving.version, str(folder.path))
                if options.watch
                else (),
                max_queue=options.max_queue,
                allow_signature_change=options.allow_signature_change,
                log_size=options.log_size,
                log_requests=options.log_requests,
                redact=options.redact,
                notify=settings.notify.to_json() if settings.notify and options.log_requests else None,
                convert=CONVERT_COMMAND,
                converted=str(settings.cache_dir / "converted-models"),
                shadow=shadow,
                shadow_share=options.shadow_share,
            )
            # the follower reads it here, because every user of this machine can read command lines
            os.environ["MLFLOW_TRACKING_URI"] = settings.tracking_uri
            if not options.detach:
                daemon.exec_program(SERVING_COMMAND, stdin=spec.to_line(), descriptors=[spec.socket_fd])
            return _start_detached(spec)
    finally:
        listener.close()


@contextlib.contextmanager
def _claimed_folder(states: StateFiles, name: str) -> Iterator[EndpointFolder]:
    """Yield the folder of a new endpoint, and remove it if the endpoint cannot be started."""
    _require_free_name(states, name)
    folder = claim_folder(states, name)
    try:
        yield folder
    except BaseException:
        folder.remove()
        raise


def serve_with_env_manager(settings: Settings, options: EndpointOptions, env_manager: str) -> None:
    """Become `mlflow models serve`, which first creates the model's own environment. Never returns."""
    if (
        options.detach
        or options.watch
        or options.strict
        or options.shadow
        or options.cors
        or options.log_requests
        or options.key_file
        or options.tls_cert
    ):
        raise UsageError(
            "--env-manager runs `mlflow models serve`, which does not have all options of mlctl serve",
            "remove --detach, --watch, --strict, --shadow, --cors, --log-requests, --api-key-file and --tls-cert",
        )
    _check_options(options)
    _open_listener(settings, options).close()
    source, states = find_model(settings, options.model), endpoint_states(settings)
    with _claimed_folder(states, _endpoint_name(options, source.name)) as folder:
        model = folder.accept(source.fetch(folder.new_incoming())).folder
        command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model]
        command += ["--env-manager", env_manager, "--host", options.host, "--port", str(options.port)]
        daemon.exec_program([*command, "--workers", str(options.workers)])


def _check_options(options: EndpointOptions) -> None:
    if not listening.is_loopback(options.host) and not options.key_file and not options.insecure:
        raise RefusedError(
            f"other machines can reach {options.host}, and no API key is required",
            "create one with mlctl keys new NAME and add --api-key-file, or add --insecure",
        )
    if options.key_file:
        if not options.key_file.is_file():
            raise NotFoundError(
                f"there is no key file {options.key_file}",
                f"mlctl keys new NAME --api-key-file {options.key_file} creates it",
            )
        read_keys(options.key_file)
    if options.redact and not options.log_requests:
        raise UsageError("--redact needs --log-requests", "no requests are logged without it")
    if bool(options.tls_cert) != bool(options.tls_key):
        raise UsageError("TLS needs a certificate and its key", "give both --tls-cert and --tls-key")
    if options.tls_cert and options.tls_key:
        _check_certificate(options.tls_cert, options.tls_key)
    _check_origins(options.cors)
    if not BATCH.fullmatch(options.batch):
        raise UsageError(
            f"invalid value {options.batch!r} for --batch",
            "write auto, off, or a number of rows from 2 to 9999",
        )
    if options.watch and UNVERSIONED_MODEL.match(options.model):
        raise UsageError(
            "--watch needs the stage or alias of a registered model", "serve NAME or NAME@alias with --watch"
        )


def _check_origins(origins: tuple[str, ...]) -> None:
    for origin in origins:
        if origin != "*" and not ORIGIN.fullmatch(origin):
            raise UsageError(
                f"invalid value {origin!r} for --cors",
                "example: --cors https://app.example.com, without a path",
            )


def _check_redacted(serving: ServedVersion, redacted: Sequence[str]) -> None:
    """Raise UsageError if the model has no input column of a name."""
    from mlctl.serving.saved_model import (
        read_saved_model,  # imports NumPy, which other endpoints do not need here
    )

    signature = read_saved_model(Path(serving.folder)).signature
    names = (*signature.names, *(spec.name for spec in signature.tensors))
    for name in redacted:
        if name not in names:
            hint = did_you_mean(name, names) or (
                f"its columns are {', '.join(names[:20])}" if names else "its input has no named columns"
            )
            raise UsageError(f"--redact {name}: {serving.name} has no such column", hint)


def _check_certificate(certificate: Path, key: Path) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except FileNotFoundError as exc:
        raise NotFoundError("the certificate or its key does not exist", "check both paths") from exc
    except ssl.SSLError as exc:
        raise BadDataError(
            f"the certificate and its key do not match: {exc.reason}", "both must be in PEM format"
        ) from exc


def _require_free_name(states: StateFiles, name: str) -> None:
    state = states.read(name)
    if state and is_running(states, name):
        raise RefusedError(
            f"an endpoint {name!r} is already running at {state['url']}",
            f"mlctl endpoints stop {name}, or choose another --name",
        )


def _open_listener(settings: Settings, options: EndpointOptions) -> socket.socket:
    """Listen at the endpoint's address; if the port is in use, look first for what else is wrong.

    Raises RefusedError, with the endpoint that has the port or the name, and NotFoundError if there is no such model.
    """
    try:
        return listening.open_listener(options.host, options.port)
    except RefusedError as error:
        states = endpoint_states(settings)
        _require_free_name(states, _endpoint_name(options, find_model(settings, options.model).name))
        for name in states.names():
            state = states.read(name)
            if state and is_running(states, name) and urlsplit(state["url"]).port == options.port:
                raise RefusedError(
                    f"{error.message}: the endpoint {name!r} serves {state['model']} there",
                    f"use --port 0 for a free port, or mlctl endpoints stop {name}",
                ) from error
        raise


def _endpoint_name(options: EndpointOptions, model: str) -> str:
    return options.name or re.sub(r"[^\w.-]+", "-", model).strip("-.") or "model"


def _url(options: EndpointOptions, listener: socket.socket) -> str:
    host = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host  # noqa: S104 - only compared
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if options.tls_cert else 'http'}://{host}:{listening.port_of(listener)}"


def _accepted_hosts(options: EndpointOptions) -> tuple[str, ...] | None:
    """Return the Host names that the endpoint accepts; None accepts all."""
    if not listening.is_loopback(options.host) and not options.allowed_hosts:
        return None
    hosts = ("localhost", "127.0.0.1", "[::1]", options.host, *options.allowed_hosts)
    return tuple(host.lower() for host in hosts)


def _start_detached(spec: EndpointSpec) -> Endpoint:
    ready_reader, ready_writer = os.pipe()
    log = Path(spec.log)
    log.unlink(missing_ok=True)
    child = daemon.spawn(
        SERVING_COMMAND,
        log,
        stdin=replace(spec, ready_fd=ready_writer).to_line(),
        descriptors=[spec.socket_fd, ready_writer],
    )
    os.close(ready_writer)
    report: dict[str, str] = {}
    with os.fdopen(ready_reader, "rb") as pipe:
        if select.select([pipe], [], [], READY_TIMEOUT_S)[0]:
            with contextlib.suppress(ValueError):
                report = json.loads(pipe.readline())
    if "ready" not in report:
        daemon.stop(child, STOP_TIMEOUT_S)
        reason = report.get("error", "its process ended, or took too long")
        raise ChildFailedError(f"{spec.serving.name} cannot be served: {reason}", f"its log: {log}")
    return Endpoint(
        name=spec.endpoint,
        url=spec.url,
        pid=child.pid,
        log=spec.log,
        status="ready",
        model_uri=spec.serving.uri,
        model=spec.serving.name,
        version=spec.serving.version,
    )


def _absolute(path: Path | None) -> str | None:
    return str(path.resolve()) if path else None
