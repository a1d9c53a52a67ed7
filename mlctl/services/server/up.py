"""Start a server: check everything first, wait until it is healthy, and leave nothing behind if it fails."""

from __future__ import annotations

import base64
import os
import re
import shutil
import socket
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlctl.adapters.database import connection
from mlctl.adapters.system import daemon, local_servers
from mlctl.adapters.system.state_files import StateFiles
from mlctl.domain.server import Adoption, ServerAccess, ServerLocation, TrackingServer
from mlctl.errors import ChildFailedError, RefusedError, UnreachableError, UsageError
from mlctl.files import write_atomically
from mlctl.notifications import SECRET_VARIABLE, NotifyTarget
from mlctl.services.server import adopt_artifacts, audit, auth
from mlctl.services.server.auth import BasicAuth
from mlctl.services.server.logs import errors_in
from mlctl.services.server.preflight import run_preflight
from mlctl.services.server.server_location import location_to_state
from mlctl.services.server.server_state import read_readiness, to_tracking_server
from mlctl.tracking_server.server_config import CANNOT_LISTEN, ServerConfig

START_TIMEOUT_S = 120.0
RESERVED_PREFIXES = {"api", "ajax-api", "static-files", "graphql", "gateway", "v1", "mlctl"}
STATIC_PREFIX = r"(/[A-Za-z0-9._~-]+)+/?"
SECRETS = (
    "PGPASSWORD",
    "MYSQL_PWD",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_CONNECTION_STRING",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY",
)
NOT_INHERITED = (
    *SECRETS,
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_RUN_ID",
    "MLFLOW_WORKSPACE",
    SECRET_VARIABLE,
)


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """The options of a server beside its location and its access.

    Attributes:
        adoption: Artifacts of local clients to move behind the server before it starts.
        typed_location_keys: Which of root, backend and bucket the user typed. A server that already runs under
            this name must agree with them.
        notify: Who is told when the server goes down.
        static_prefix: Path below which the server is reached, such as /mlflow.
        artifacts_only: Answer requests about artifacts, and refuse all others.
        workspaces: Keep experiments and models in MLflow's workspaces.
    """

    name: str = "main"
    workers: int = 4
    foreground: bool = False
    supervise: bool = False
    metrics: bool = True
    create_bucket: bool = False
    upgrade_db: bool = False
    admin_password_file: str | None = None
    adoption: Adoption | None = None
    typed_location_keys: frozenset[str] = frozenset()
    notify: NotifyTarget | None = None
    static_prefix: str = ""
    artifacts_only: bool = False
    workspaces: bool = False


def start_server(
    location: ServerLocation, access: ServerAccess, options: ServerOptions, state_dir: Path
) -> TrackingServer:
    """Start a server and return it healthy; a server that already runs under this name is returned as it is.

    An adoption happens just before the server starts, after all checks have passed. In the foreground, this process
    becomes the server.

    Raises:
        RefusedError: The server that already runs is not the one that these options describe.
        UnreachableError: The server that already runs is not ready, or the new one is not healthy in time.
        ChildFailedError: The server ended before it was healthy.
        MlctlError: What the preflight checks raise.
    """
    if options.artifacts_only and location.direct:
        raise UsageError(
            "--artifacts-only and --direct-artifacts leave nothing to do for the server", "remove one of them"
        )
    files = local_servers.server_files(state_dir)
    with files.lock(options.name, START_TIMEOUT_S):
        adoption = options.adoption if options.adoption and options.adoption.movable else None
        if adoption:
            adopt_artifacts.require_no_writers(location, adoption, state_dir)
        state = files.read(options.name)
        if state and local_servers.server_process(state).is_alive():
            # its database is another one than the adoption's: otherwise the line above has raised
            keys = options.typed_location_keys | ({"backend"} if adoption else set())
            return _running_server(state, location, access, options, keys=keys)
        sock = run_preflight(
            location, access, create_bucket=options.create_bucket, upgrade_db=options.upgrade_db
        )
        if not options.workspaces and (names := connection.list_workspaces_in_use(location.backend)):
            sock.close()
            raise RefusedError(
                f"the database has experiments in the workspace {names[0]}, which a server without workspaces refuses",
                "add --workspaces",
            )
        files.delete(options.name)  # its process is gone, or its pid belongs to another program
        basic_auth = auth.prepare_basic_auth(
            location,
            access,
            password_file=options.admin_password_file,
            config=files.path(options.name, ".auth.ini"),
            foreground=options.foreground,
        )
        if adoption:  # everything else has been checked
            adopt_artifacts.adopt(location, adoption)
        config = _server_config(
            location, access, options, sock=sock, state_file=files.path(options.name), basic_auth=basic_auth
        )
        state = _new_state(location, access, config, log=files.path(options.name, ".log"))
        state["options"] = _options_of_state(access, options)
        if options.foreground:
            _become_server(config, state, files, basic_auth)
        return _start(config, state, files, sock=sock, location=location, basic_auth=basic_auth)


def _running_server(
    state: dict[str, Any],
    location: ServerLocation,
    access: ServerAccess,
    options: ServerOptions,
    *,
    keys: frozenset[str],
) -> TrackingServer:
    """Return the server that already runs under this name, if it has these keys of the location and these options."""
    running, wanted = state["place"], location_to_state(location)
    differences = [
        f"{key} {running.get(key) or 'none'}, not {wanted[key] or 'none'}"
        for key in ("root", "backend", "bucket", "artifacts")
        if key in keys and running.get(key) != wanted[key]
    ]
    if access.auth and not state["auth"]:
        differences.append("no authentication, not --auth")
    has = state.get("options", {})  # the state of a server that an earlier version started has none
    differences += [
        f"{option} {has[option] or 'left out'}, not {value}"
        for option, value in _options_of_state(access, options).items()
        if value and has.get(option, value) != value
    ]
    if differences:
        raise RefusedError(
            f"{state['name']} is up already at {state['url']}, with {'; with '.join(differences)}",
            "choose another --name, or stop that server first: mlctl server-down",
        )
    readiness = read_readiness(state)
    if not readiness or not readiness["ready"]:
        problem = (readiness or {}).get("trouble", "it does not answer")
        raise UnreachableError(
            f"{state['name']} runs at {state['url']}, pid {state['pid']}, and is not ready: {problem}",
            f"it may be starting: mlctl server-logs --name {state['name']}; or stop it first: mlctl server-down",
        )
    return to_tracking_server(state, "up", already_running=True)


def _options_of_state(access: ServerAccess, options: ServerOptions) -> dict[str, str]:
    """Return the options that decide who may do what and where, as the state file keeps them; "": left out."""
    permission = access.default_permission
    return {
        "--default-permission": "" if permission == ServerAccess.default_permission else permission,
        "--trusted-proxy": ", ".join(access.trusted_proxies),
        "--static-prefix": options.static_prefix,
        "--artifacts-only": "given" if options.artifacts_only else "",
        "--workspaces": "given" if options.workspaces else "",
    }


def _server_config(
    location: ServerLocation,
    access: ServerAccess,
    options: ServerOptions,
    *,
    sock: socket.socket,
    state_file: Path,
    basic_auth: BasicAuth | None,
) -> ServerConfig:
    settings = {"MLFLOW_SERVER_ALLOWED_HOSTS": auth.allowed_hosts(access)}
    if options.artifacts_only:
        settings["_MLFLOW_SERVER_ARTIFACTS_ONLY"] = "true"
    settings["MLFLOW_ENABLE_WORKSPACES"] = "true" if options.workspaces else "false"
    if access.cors_origins:
        settings["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(access.cors_origins)
    if location.bucket and location.bucket.endpoint_url:
        settings["MLFLOW_S3_ENDPOINT_URL"] = location.bucket.endpoint_url
    if location.bucket and location.bucket.region:
        settings["AWS_DEFAULT_REGION"] = location.bucket.region
    secrets = {name: os.environ[name] for name in SECRETS if os.environ.get(name)}
    if location.backend.password:
        secrets[location.backend.password_variable] = location.backend.password
    if "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY" not in secrets:
        secrets["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"] = _webhook_key(state_file.with_suffix(".webhook-key"))
    metrics_dir = None
    if options.metrics:
        folder = state_file.with_suffix(".metrics")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        metrics_dir = str(folder)
    return ServerConfig(
        name=options.name,
        instance=uuid.uuid4().hex,
        host=access.host,
        port=sock.getsockname()[1],
        backend_uri=location.backend.uri,
        artifact_root=location.destination if location.direct else "mlflow-artifacts:/",
        artifacts_destination=None if location.direct else location.destination,
        workers=options.workers,
        socket_fd=sock.fileno(),
        auth_config=str(basic_auth.config) if basic_auth else None,
        tls_cert=str(access.tls_cert.resolve()) if access.tls_cert else None,
        tls_key=str(access.tls_key.resolve()) if access.tls_key else None,
        metrics_dir=metrics_dir,
        trusted_proxies=access.trusted_proxies,
        user_header=access.user_header,
        audit_log=str(state_file.with_suffix(audit.SUFFIX)),
        audit_to_stdout=options.foreground,
        supervise=options.supervise,
        upgrade=options.upgrade_db,
        state_file=str(state_file),
        deleted_at_exit=str(state_file),
        settings={name: value for name, value in settings.items() if value},
        secrets={**secrets, **(basic_auth.secrets if basic_auth else {})},
        notify=options.notify.to_json() if options.notify else None,
        static_prefix=options.static_prefix,
    )


def check_static_prefix(prefix: str) -> str:
    """Return the prefix without a slash at its end. Raises UsageError if it is no path."""
    parts = prefix.strip("/").split("/")
    if prefix and (not re.fullmatch(STATIC_PREFIX, prefix) or {".", ".."} & {*parts}):
        raise UsageError(f"invalid value {prefix!r} for --static-prefix", "example: --static-prefix /mlflow")
    if parts[0] in RESERVED_PREFIXES:
        raise UsageError(
            f"--static-prefix {prefix}: the server itself has addresses below /{parts[0]}",
            "choose another one: --static-prefix /mlflow",
        )
    return prefix.rstrip("/")


def _webhook_key(file: Path) -> str:
    """Return the key that encrypts the secrets of webhooks; MLflow itself forgets its key when it ends."""
    if not file.is_file():
        key = base64.urlsafe_b64encode(os.urandom(32))
        write_atomically(file, key, durable=True, mode=0o600)
    return file.read_text(encoding="ascii")


def _new_state(
    location: ServerLocation, access: ServerAccess, config: ServerConfig, *, log: Path
) -> dict[str, Any]:
    """Return the content of the state file, without the process."""
    scheme = "https" if config.tls_cert else "http"
    host = auth.public_host(access)
    local_host = "127.0.0.1" if access.host in auth.ANY_HOST else host
    return {
        "name": config.name,
        "instance": config.instance,
        "url": f"{scheme}://{host}:{config.port}{config.static_prefix}",
        "local_url": f"{scheme}://{local_host}:{config.port}",
        "log": str(log),
        "place": location_to_state(location),
        "artifacts": location.destination,
        "workers": config.workers,
        "auth": access.auth,
    }


def _start(
    config: ServerConfig,
    state: dict[str, Any],
    files: StateFiles,
    *,
    sock: socket.socket,
    location: ServerLocation,
    basic_auth: BasicAuth | None,
) -> TrackingServer:
    log = Path(state["log"])
    log_size = log.stat().st_size if log.exists() else 0
    process = daemon.spawn(
        [sys.executable, "-m", "mlctl.tracking_server"],
        log,
        stdin=config.to_json(),
        drop_variables=NOT_INHERITED,
        descriptors=(sock.fileno(),),
    )
    sock.close()
    state |= process.to_state()
    try:
        files.write(config.name, state)
        readiness = _wait_until_ready(state, process, log_size)
    except BaseException:
        daemon.stop(process, 2)
        files.delete(config.name)
        raise
    return to_tracking_server(
        state,
        "up",
        started_at=readiness["began"],
        mlflow=readiness["mlflow"],
        local_experiments=connection.list_stray_experiments(location.backend),
        admin_password=basic_auth.generated_password if basic_auth else None,
        warning=auth.UNUSED_PASSWORD_FILE if basic_auth and basic_auth.has_unused_password_file else "",
    )


def _wait_until_ready(state: dict[str, Any], process: daemon.DaemonProcess, log_size: int) -> dict[str, Any]:
    """Return what /ready answers once the server is ready; raise the log's last error if the server ends.

    Only errors after byte `log_size` of the log count: what precedes is another server's.
    """
    log = Path(state["log"])
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (readiness := read_readiness(state)) or not readiness["ready"]:
        if not process.is_alive():
            errors = errors_in(log, log_size)
            if errors and CANNOT_LISTEN in errors[-1]:
                raise RefusedError(
                    f"another program has taken the port of {state['local_url']} meanwhile",
                    "choose another --port, or find the program: ss -ltnp",
                )
            reason = f": {errors[-1]}" if errors else ""
            raise ChildFailedError(f"the server ended right after its start{reason}", f"read its log: {log}")
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"the server was not healthy after {START_TIMEOUT_S:.0f} s", f"read its log: {log}"
            )
        time.sleep(0.05)
    return readiness


def _become_server(
    config: ServerConfig, state: dict[str, Any], files: StateFiles, basic_auth: BasicAuth | None
) -> None:
    """Replace this process by the server; this function does not return."""
    process = daemon.current_process()
    state |= {**process.to_state(), "log": "the container's or terminal's own"}
    files.write(config.name, state)
    assert config.socket_fd is not None
    if basic_auth and basic_auth.has_unused_password_file:
        print(auth.UNUSED_PASSWORD_FILE, file=sys.stderr)
    print(f"{state['url']} in the foreground, pid {process.pid}", file=sys.stderr, flush=True)
    daemon.exec_program(
        [sys.executable, "-m", "mlctl.tracking_server"],
        stdin=config.to_json(),
        drop_variables=NOT_INHERITED,
        descriptors=(config.socket_fd,),
    )
