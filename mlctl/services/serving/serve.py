"""Serving a model: everything that can be refused is refused first, and nothing is left running where it fails."""

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
from dataclasses import dataclass
from pathlib import Path

from mlctl.adapters.system import daemon
from mlctl.adapters.system import listener as listening
from mlctl.adapters.system.state_files import StateFiles
from mlctl.domain.serving import Endpoint
from mlctl.errors import BadDataError, ChildFailedError, NotFoundError, RefusedError, UsageError
from mlctl.services.serving import endpoints, keys
from mlctl.serving.endpoint_spec import Serving, Spec
from mlctl.settings import Settings

READY_WITHIN_S = 150.0
FOLLOWED_NOT = re.compile(r"(runs|models|s3|file|https?):/|[./~]")


@dataclass(frozen=True)
class EndpointOptions:
    """What an endpoint shall be."""

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
    allow_hosts: tuple[str, ...] = ()
    insecure: bool = False
    watch: bool = False
    detach: bool = False
    name: str | None = None


def serve(settings: Settings, wish: EndpointOptions) -> Endpoint:
    """Serve a model; return its endpoint where it is detached, and never where it is not.

    Raises RefusedError for a port or a name in use and for an open address without keys, ChildFailedError where
    the model cannot be served, and whatever finding the model raises.
    """
    _check(wish)
    listener = listening.listen(wish.host, wish.port)
    scratch = Path(tempfile.mkdtemp(prefix="mlctl-endpoint-"))
    try:
        serving = _located(settings, wish, scratch)
        book = endpoints.notes(settings)
        name = wish.name or re.sub(r"[^\w.-]+", "-", serving.name).strip("-.") or "model"
        with book.alone(name, READY_WITHIN_S):
            _check_name(book, name)
            spec = _spec(settings, wish, serving, listener, scratch, name, book)
            os.environ["MLFLOW_TRACKING_URI"] = (
                settings.tracking_uri
            )  # for the follower; argv is for all to read
            if not wish.detach:
                _become(spec)
            return _detached(spec, listener)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    finally:
        listener.close()


def in_its_environment(settings: Settings, wish: EndpointOptions, manager: str) -> None:
    """Become `mlflow models serve`, which makes the model's own environment first; never returns."""
    if wish.detach or wish.watch or wish.key_file or wish.tls_cert:
        raise UsageError(
            "--env-manager hands the model to `mlflow models serve`, which has no such options",
            "leave out --detach, --watch, --api-key-file and --tls-cert",
        )
    _check(wish)
    listening.listen(wish.host, wish.port).close()
    scratch = Path(tempfile.mkdtemp(prefix="mlctl-endpoint-"))
    folder = _located(settings, wish, scratch).folder
    daemon.replace_self(
        [
            sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", folder, "--env-manager", manager,
            "--host", wish.host, "--port", str(wish.port), "--workers", str(wish.workers),
        ],
        b"",
    )  # fmt: skip


def _check(wish: EndpointOptions) -> None:
    if not listening.is_loopback(wish.host) and not wish.key_file and not wish.insecure:
        raise RefusedError(
            f"{wish.host} can be reached from other machines, and no key is asked for",
            "mlctl keys new NAME, then --api-key-file; or say --insecure",
        )
    if wish.key_file:
        if not wish.key_file.is_file():
            raise NotFoundError(
                f"there is no key file {wish.key_file}",
                f"mlctl keys new NAME --api-key-file {wish.key_file} makes one",
            )
        keys.read(wish.key_file)
    if bool(wish.tls_cert) != bool(wish.tls_key):
        raise UsageError("TLS takes a certificate and its key", "give both --tls-cert and --tls-key")
    if wish.tls_cert and wish.tls_key:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(wish.tls_cert, wish.tls_key)
        except FileNotFoundError as exc:
            raise NotFoundError("the certificate or its key is not there", "look at both paths") from exc
        except ssl.SSLError as exc:
            raise BadDataError(
                f"the certificate and its key do not fit: {exc.reason}", "both in PEM"
            ) from exc
    if wish.watch and FOLLOWED_NOT.match(wish.model):
        raise UsageError(
            "--watch follows a registered model's stage or alias", "serve NAME, or NAME@alias, with --watch"
        )


def _check_name(book: StateFiles, name: str) -> None:
    note = book.read(name)
    if note and endpoints.process_of(note).alive():
        raise RefusedError(
            f"an endpoint {name!r} runs already at {note['url']}",
            f"mlctl endpoints stop {name}, or take another --name",
        )


def _located(settings: Settings, wish: EndpointOptions, scratch: Path) -> Serving:
    """Return the model's files on this disk."""
    folder = Path(wish.model.removeprefix("file://")).expanduser()
    if (folder / "MLmodel").is_file() and FOLLOWED_NOT.match(wish.model):
        whole = folder.resolve()  # a folder is served without importing MLflow, which takes seconds
        return Serving(whole.name, "", str(whole), str(whole))
    from mlctl.services.models.fetch import located

    return located(settings, wish.model, scratch)


def _spec(
    settings: Settings,
    wish: EndpointOptions,
    serving: Serving,
    listener: socket.socket,
    scratch: Path,
    name: str,
    book: StateFiles,
) -> Spec:
    shown = wish.host if wish.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104  # how it is reached
    shown = f"[{shown}]" if ":" in shown else shown
    port = listening.port_of(listener)
    hosts: tuple[str, ...] | None = None
    if listening.is_loopback(wish.host) or wish.allow_hosts:
        own = ("localhost", "127.0.0.1", "[::1]", wish.host)
        hosts = tuple(one.lower() for one in (*own, *wish.allow_hosts))
    follow: tuple[str, ...] = ()
    if wish.watch:
        follow = (
            sys.executable,
            "-m",
            "mlctl.services.serving.follow",
            wish.model,
            serving.version,
            str(scratch),
        )
    return Spec(
        serving=serving, endpoint=name, url=f"{'https' if wish.tls_cert else 'http'}://{shown}:{port}",
        socket_fd=listener.fileno(), workers=wish.workers, scratch=str(scratch),
        log=str(book.path(name, ".log")) if wish.detach else "", state_file=str(book.path(name)),
        key_file=_absolute(wish.key_file), tls_cert=_absolute(wish.tls_cert), tls_key=_absolute(wish.tls_key),
        metrics=wish.metrics, max_body=wish.max_body, timeout_s=wish.timeout_s, hosts=hosts, follow=follow,
    )  # fmt: skip


def _become(spec: Spec) -> None:
    argv = [sys.executable, "-m", "mlctl.serving"]
    daemon.replace_self(argv, spec.line(), descriptors=[spec.socket_fd])


def _detached(spec: Spec, listener: socket.socket) -> Endpoint:
    reader, writer = os.pipe()
    log = Path(spec.log)
    log.unlink(missing_ok=True)
    child = daemon.spawn(
        [sys.executable, "-m", "mlctl.serving"],
        log,
        Spec(**{**vars(spec), "ready_fd": writer}).line(),
        descriptors=[listener.fileno(), writer],
    )
    os.close(writer)
    told: dict[str, str] = {}
    with os.fdopen(reader, "rb") as pipe:
        if select.select([pipe], [], [], READY_WITHIN_S)[0]:
            with contextlib.suppress(ValueError):
                told = json.loads(pipe.readline())
    if "ready" not in told:
        daemon.stop(child, 5)
        why = told.get("error", "its process ended, or took too long")
        raise ChildFailedError(f"{spec.serving.name} cannot be served: {why}", f"its log: {log}")
    one = spec.serving
    return Endpoint(spec.endpoint, spec.url, child.pid, spec.log, "ready", one.uri, one.name, one.version)


def _absolute(path: Path | None) -> str | None:
    return str(path.resolve()) if path else None
