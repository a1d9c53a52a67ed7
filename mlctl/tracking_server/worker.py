"""One forked worker: uvicorn serves MLflow's own application behind the health middleware."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import uvicorn
from fastapi.responses import FileResponse
from flask import Flask
from mlflow.environment_variables import MLFLOW_ENABLE_REMOTE_ASSISTANT
from mlflow.store.artifact.artifact_repo import ARTIFACT_STREAM_CHUNK_SIZE

from mlctl.tracking_server import lost_runs
from mlctl.tracking_server.access_tokens import AccessTokens
from mlctl.tracking_server.audit_log import AuditLog
from mlctl.tracking_server.audit_middleware import AuditMiddleware
from mlctl.tracking_server.health_middleware import Application, HealthMiddleware, count_rows
from mlctl.tracking_server.identity_middleware import IdentityMiddleware, new_process_secret
from mlctl.tracking_server.prefix_middleware import PrefixMiddleware
from mlctl.tracking_server.server_config import ServerConfig
from mlctl.tracking_server.trusted_proxies import TrustedProxies, with_client_addresses

STATUS_PATH = "/mlctl/status"
KEEP_ALIVE_S = 75  # with uvicorn's 5 s, it resets idle connections of clients under load
LOG_CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "%(asctime)s %(levelname)s [%(process)d] %(message)s",
            "datefmt": "%Y/%m/%d %H:%M:%S",
        }
    },
    "handlers": {
        "log": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}
    },
    "root": {"handlers": ["log"], "level": "WARNING"},
    "loggers": {"uvicorn": {"handlers": ["log"], "level": "WARNING", "propagate": False}},
}


def run(config: ServerConfig, sock: socket.socket, *, finds_lost_runs: bool = False) -> int:
    """Serve until SIGTERM; return the exit code. One worker of a server also looks for lost runs."""
    gc.enable()
    from mlflow.server import app as flask_app
    from mlflow.server import handlers

    flask_app.add_url_rule(STATUS_PATH, "mlctl_status", count_rows)
    app = _authenticated_app(flask_app, config) if config.auth_config else _open_app()
    # with the default of 64 KB, a file of 50 MB takes 800 chunks, and each of them waits for a thread
    FileResponse.chunk_size = ARTIFACT_STREAM_CHUNK_SIZE
    handlers._get_tracking_store()
    handlers._get_model_registry_store()
    if finds_lost_runs:
        lost_runs.start(config)
    if config.audit_log:
        audit_log = AuditLog(Path(config.audit_log), to_stdout=config.audit_to_stdout)
        app = AuditMiddleware(app, audit_log, with_users=config.auth_config is not None)
    app = HealthMiddleware(app, config)
    if config.static_prefix:
        app = PrefixMiddleware(app, config.static_prefix)
    uvicorn_config = uvicorn.Config(
        with_client_addresses(app, config.trusted_proxies),
        proxy_headers=False,  # `with_client_addresses` reads them
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=None,  # the launcher ends the grace period
        access_log=False,
        server_header=False,
        ssl_certfile=config.tls_cert,
        ssl_keyfile=config.tls_key,
        log_config=LOG_CONFIG,
        ws="none",
        # MLflow's lifespan handler cleans up after its remote assistant
        lifespan="auto" if MLFLOW_ENABLE_REMOTE_ASSISTANT.get() else "off",
    )
    server = uvicorn.Server(uvicorn_config)
    server.run(sockets=[sock])
    return 0 if server.started else 1


def _open_app() -> Application:
    from mlflow.server import fastapi_app

    app: Application = fastapi_app.app
    return app


def _authenticated_app(flask_app: Flask, config: ServerConfig) -> Application:
    """Return MLflow's application with its authentication, and with mlctl's rules, access tokens and proxies."""
    from mlflow.server import auth

    from mlctl.tracking_server import credential_cache, promotion_rights, token_routes

    process_secret = new_process_secret()
    credential_cache.install(process_secret)
    promotion_rights.install(flask_app)
    # every user may ask: `count_rows` counts only what they may read
    auth.BEFORE_REQUEST_VALIDATORS[STATUS_PATH, "GET"] = lambda: True
    app = auth.create_app()  # this connects to the database
    tokens = AccessTokens(auth.store.engine)
    token_routes.install(flask_app, tokens)
    proxies = TrustedProxies(config.trusted_proxies, config.user_header, auth.store)
    return IdentityMiddleware(app, tokens, proxies, process_secret)
