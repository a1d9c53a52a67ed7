"""Starting a server: checked first, healthy before the command returns, nothing left where it fails."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlctl.adapters.database import connection
from mlctl.adapters.system import daemon
from mlctl.adapters.system.state_files import StateFiles
from mlctl.domain.server import Access, Adoption, ServerLocation, TrackingServer
from mlctl.errors import ChildFailedError, RefusedError, UnreachableError
from mlctl.services.server import adopt_artifacts, auth, preflight, server_state
from mlctl.services.server.logs import errors_in
from mlctl.services.server.server_location import as_note
from mlctl.tracking_server.server_config import CANNOT_LISTEN, ServerConfig

HEALTHY_WITHIN_S = 120.0
SECRETS = (
    "PGPASSWORD",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
)
NOT_INHERITED = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_RUN_ID",
)


@dataclass(frozen=True)
class ServerOptions:
    """What a server shall be, beside where it keeps things and who may reach it."""

    name: str = "main"
    workers: int = 4
    foreground: bool = False
    supervise: bool = False
    metrics: bool = False
    create_bucket: bool = False
    upgrade_db: bool = False
    admin_password_file: str | None = None
    adoption: Adoption | None = None
    stated: frozenset[str] = frozenset()  # what of root, backend and bucket was typed


def up(place: ServerLocation, access: Access, wish: ServerOptions, state_dir: Path) -> TrackingServer:
    """Start a server and return it healthy; one of that name that runs already is returned as it is.

    What the wish adopts is moved when everything was found to be well, just before the server starts.
    In the foreground this process becomes the server. Raises what the preflight finds, ChildFailedError where
    the server ends before it is healthy, RefusedError where the one that runs is not the one that was asked
    for, and UnreachableError where it is not ready.
    """
    book = server_state.notes(state_dir)
    with book.alone(wish.name, HEALTHY_WITHIN_S):
        adoption = wish.adoption if wish.adoption and wish.adoption.movable else None
        if adoption:
            adopt_artifacts.demand_quiet(place, adoption, state_dir)
        note = book.read(wish.name)
        if note and server_state.process_of(note).alive():
            # what is to be adopted is not in its database, or it would have been refused above
            return _found(note, place, access, wish.stated | ({"backend"} if adoption else set()))
        sock = preflight.check(place, access, wish.create_bucket, wish.upgrade_db)
        book.forget(wish.name)  # a stale one: its process is gone, or its pid is another program's
        config = book.path(wish.name, ".auth.ini")
        admin = auth.prepare(place, access, wish.admin_password_file, config, wish.foreground)
        if adoption:  # not before all the rest is known to be well
            adopt_artifacts.adopt(place, adoption)
        plan = _plan(place, access, wish, sock, book.path(wish.name), admin)
        note = _note(place, access, plan, book.path(wish.name, ".log"))
        if wish.foreground:
            _become(plan, note, book, admin)
        return _healthy(plan, note, book, sock, place, admin)


def _found(
    note: dict[str, Any], place: ServerLocation, access: Access, stated: frozenset[str]
) -> TrackingServer:
    """Return the server that runs under this name already, where it is what was asked for."""
    kept, wanted = note["place"], as_note(place)
    differ = [
        f"{key} {kept[key] or 'none'}, not {wanted[key] or 'none'}"
        for key in ("root", "backend", "bucket")
        if key in stated and kept[key] != wanted[key]
    ]
    if access.auth and not note["auth"]:
        differ.append("no users and passwords, not --auth")
    if differ:
        raise RefusedError(
            f"{note['name']} is up already at {note['url']}, with {'; with '.join(differ)}",
            "take another --name, or stop it first: mlctl server-down",
        )
    said = server_state.ready(note)
    if not said or not said["ready"]:
        trouble = (said or {}).get("trouble", "it does not answer")
        raise UnreachableError(
            f"{note['name']} runs at {note['url']}, pid {note['pid']}, and is not ready: {trouble}",
            f"mlctl server-logs --name {note['name']}; it may be starting, or mlctl server-down first",
        )
    return server_state.described(note, "up", already=True)


def print_env(server: TrackingServer) -> str:
    """Return the line that `eval` takes."""
    return f"export MLFLOW_TRACKING_URI={server.url}"


def _plan(
    place: ServerLocation,
    access: Access,
    wish: ServerOptions,
    sock: socket.socket,
    note: Path,
    admin: auth.Admin | None,
) -> ServerConfig:
    settings = {"MLFLOW_SERVER_ALLOWED_HOSTS": auth.allowed_hosts(access)}
    if access.cors_origins:
        settings["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(access.cors_origins)
    if place.bucket and place.bucket.endpoint_url:
        settings["MLFLOW_S3_ENDPOINT_URL"] = place.bucket.endpoint_url
    if place.bucket and place.bucket.region:
        settings["AWS_DEFAULT_REGION"] = place.bucket.region
    secrets = {name: os.environ[name] for name in SECRETS if os.environ.get(name)}
    if place.backend.password:
        secrets["PGPASSWORD"] = place.backend.password
    metrics = None
    if wish.metrics:
        folder = note.with_suffix(".metrics")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        metrics = str(folder)
    return ServerConfig(
        name=wish.name,
        instance=uuid.uuid4().hex,
        host=access.host,
        port=sock.getsockname()[1],
        backend_uri=place.backend.uri,
        artifact_root=place.destination if place.direct else "mlflow-artifacts:/",
        artifacts_destination=None if place.direct else place.destination,
        workers=wish.workers,
        socket_fd=sock.fileno(),
        auth_config=str(admin.config) if admin else None,
        tls_cert=str(access.tls_cert.resolve()) if access.tls_cert else None,
        tls_key=str(access.tls_key.resolve()) if access.tls_key else None,
        metrics_dir=metrics,
        supervise=wish.supervise,
        upgrade=wish.upgrade_db,
        note=str(note),
        told=str(note),
        settings={name: value for name, value in settings.items() if value},
        secrets={**secrets, **(admin.secrets if admin else {})},
    )


def _note(place: ServerLocation, access: Access, plan: ServerConfig, log: Path) -> dict[str, Any]:
    scheme = "https" if plan.tls_cert else "http"
    host = auth.public_host(access)
    local = "127.0.0.1" if access.host in auth.ANYWHERE else host
    return {
        "name": plan.name,
        "instance": plan.instance,
        "url": f"{scheme}://{host}:{plan.port}",
        "local_url": f"{scheme}://{local}:{plan.port}",
        "log": str(log),
        "place": as_note(place),
        "artifacts": place.destination,
        "workers": plan.workers,
        "auth": access.auth,
    }


def _healthy(
    plan: ServerConfig,
    note: dict[str, Any],
    book: StateFiles,
    sock: socket.socket,
    place: ServerLocation,
    admin: auth.Admin | None,
) -> TrackingServer:
    log = Path(note["log"])
    before = log.stat().st_size if log.exists() else 0
    child = daemon.spawn(
        [sys.executable, "-m", "mlctl.tracking_server"],
        log,
        plan.to_json(),
        hidden=(*SECRETS, *NOT_INHERITED),
        descriptors=(sock.fileno(),),
    )
    sock.close()
    note |= child.as_note()
    try:
        book.write(plan.name, note)
        said = _awaited(note, child, before)
    except BaseException:
        daemon.stop(child, 2)
        book.forget(plan.name)
        raise
    return server_state.described(
        note,
        "up",
        began_at=said["began"],
        mlflow=said["mlflow"],
        strays=connection.strays(place.backend),
        admin_password=admin.generated if admin else None,
        remark=auth.UNUSED if admin and admin.unused else "",
    )


def _awaited(note: dict[str, Any], child: daemon.DaemonProcess, before: int) -> dict[str, Any]:
    """Return what /ready says once it is; the log's errors after byte `before` say why it never is."""
    log = Path(note["log"])
    until = time.monotonic() + HEALTHY_WITHIN_S
    while not (said := server_state.ready(note)) or not said["ready"]:
        if not child.alive():
            told = errors_in(log, before)
            if told and CANNOT_LISTEN in told[-1]:
                raise RefusedError(
                    f"the port of {note['local_url']} was taken meanwhile", "say --port, or find who has it"
                )
            because = f": {told[-1]}" if told else ""
            raise ChildFailedError(f"the server ended at once{because}", f"the whole story: {log}")
        if time.monotonic() > until:
            raise UnreachableError(
                f"the server was not healthy after {HEALTHY_WITHIN_S:.0f} s", f"look at {log}"
            )
        time.sleep(0.05)
    return said


def _become(plan: ServerConfig, note: dict[str, Any], book: StateFiles, admin: auth.Admin | None) -> None:
    me = daemon.myself()
    note |= {**me.as_note(), "log": "the container's or terminal's own"}
    book.write(plan.name, note)
    assert plan.socket_fd is not None
    if admin and admin.unused:
        print(auth.UNUSED, file=sys.stderr)
    print(f"{note['url']} in the foreground, pid {me.pid}", file=sys.stderr, flush=True)
    daemon.replace_self(
        [sys.executable, "-m", "mlctl.tracking_server"],
        plan.to_json(),
        (*SECRETS, *NOT_INHERITED),
        (plan.socket_fd,),
    )
