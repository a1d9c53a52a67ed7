"""Serve a model. All checks come first, and a failure leaves no process and no files behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import socket
import ssl
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from mlctl.adapters.system import daemon
from mlctl.adapters.system import listener as listening
from mlctl.adapters.system.state_files import StateFiles
from mlctl.domain.serving import Endpoint
from mlctl.errors import BadDataError, ChildFailedError, NotFoundError, RefusedError, UsageError
from mlctl.services.serving.endpoints import endpoint_states, is_running
from mlctl.services.serving.keys import read_keys
from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion
from mlctl.settings import Settings

READY_TIMEOUT_S = 150.0
STOP_TIMEOUT_S = 5
UNVERSIONED_MODEL = re.compile(r"(runs|models|s3|file|https?):/|[./~]")  # it cannot be followed with --watch
SERVING_COMMAND = [sys.executable, "-m", "mlctl.serving"]
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
        allowed_hosts: Further Host names that clients may use.
        insecure: Accept every client, even on an address that other machines reach.
        watch: Serve each version that is promoted later.
        detach: Run in the background.
        name: Name of the endpoint; None derives it from the model.
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
    allowed_hosts: tuple[str, ...] = ()
    insecure: bool = False
    watch: bool = False
    detach: bool = False
    name: str | None = None


def serve(settings: Settings, options: EndpointOptions) -> Endpoint:
    """Serve a model. Return its endpoint if `detach` is set; otherwise become the endpoint and never return.

    Raises:
        RefusedError: The port or name is in use, or other machines reach the address and no keys are required.
        ChildFailedError: The model cannot be served.
        MlctlError: The model cannot be found or fetched.
    """
    _check_options(options)
    listener = _open_listener(settings, options)
    scratch = Path(tempfile.mkdtemp(prefix="mlctl-endpoint-"))
    try:
        serving = _fetch_model(settings, options.model, scratch)
        states = endpoint_states(settings)
        name = _endpoint_name(options, serving.name)
        with states.lock(name, READY_TIMEOUT_S):
            _require_free_name(states, name)
            spec = EndpointSpec(
                serving=serving,
                endpoint=name,
                url=_url(options, listener),
                socket_fd=listener.fileno(),
                workers=options.workers,
                scratch=str(scratch),
                log=str(states.path(name, ".log")) if options.detach else "",
                state_file=str(states.path(name)),
                key_file=_absolute(options.key_file),
                tls_cert=_absolute(options.tls_cert),
                tls_key=_absolute(options.tls_key),
                metrics=options.metrics,
                max_body=options.max_body,
                timeout_s=options.timeout_s,
                hosts=_accepted_hosts(options),
                follow=(*FOLLOW_COMMAND, options.model, serving.version, str(scratch))
                if options.watch
                else (),
            )
            # the follower reads it here, because every user of this machine can read command lines
            os.environ["MLFLOW_TRACKING_URI"] = settings.tracking_uri
            if not options.detach:
                daemon.exec_program(SERVING_COMMAND, stdin=spec.to_line(), descriptors=[spec.socket_fd])
            return _start_detached(spec)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    finally:
        listener.close()


def serve_with_env_manager(settings: Settings, options: EndpointOptions, env_manager: str) -> None:
    """Become `mlflow models serve`, which first creates the model's own environment. Never returns."""
    if options.detach or options.watch or options.key_file or options.tls_cert:
        raise UsageError(
            "--env-manager runs `mlflow models serve`, which does not have all options of mlctl serve",
            "remove --detach, --watch, --api-key-file and --tls-cert",
        )
    _check_options(options)
    _open_listener(settings, options).close()
    scratch = Path(tempfile.mkdtemp(prefix="mlctl-endpoint-"))
    try:
        folder = _fetch_model(settings, options.model, scratch).folder
        command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", folder]
        command += ["--env-manager", env_manager, "--host", options.host, "--port", str(options.port)]
        daemon.exec_program([*command, "--workers", str(options.workers)])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # only a failure gets here


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
    if bool(options.tls_cert) != bool(options.tls_key):
        raise UsageError("TLS needs a certificate and its key", "give both --tls-cert and --tls-key")
    if options.tls_cert and options.tls_key:
        _check_certificate(options.tls_cert, options.tls_key)
    if options.watch and UNVERSIONED_MODEL.match(options.model):
        raise UsageError(
            "--watch needs the stage or alias of a registered model", "serve NAME or NAME@alias with --watch"
        )


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
        _require_free_name(states, _endpoint_name(options, _model_name(settings, options.model)))
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


def _local_folder(model: str) -> Path | None:
    """Return the folder of a model on this machine; None if MODEL is something else."""
    folder = Path(model.removeprefix("file://")).expanduser()
    is_folder = (folder / "MLmodel").is_file() and UNVERSIONED_MODEL.match(model)
    return folder.resolve() if is_folder else None


def _model_name(settings: Settings, model: str) -> str:
    """Return the name of the model without fetching it. Raises NotFoundError."""
    if folder := _local_folder(model):
        return folder.name
    from mlctl.adapters.tracking.store import TrackingStore
    from mlctl.services.models.fetch import reference_name
    from mlctl.services.models.select import resolve_model

    return reference_name(resolve_model(TrackingStore(settings.tracking_uri), model), model)


def _fetch_model(settings: Settings, model: str, scratch: Path) -> ServedVersion:
    """Return the model with its files on this machine."""
    if folder := _local_folder(model):
        return ServedVersion(name=folder.name, version="", uri=str(folder), folder=str(folder))
    # only here, because they import MLflow, which takes seconds
    from mlctl.adapters.tracking.store import TrackingStore
    from mlctl.services.models.fetch import fetch_model

    return fetch_model(TrackingStore(settings.tracking_uri), model, scratch)


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
