"""One forked worker: MLflow's own application behind a thin layer of ours, served by uvicorn."""

from __future__ import annotations

import gc
import socket

import uvicorn
from fastapi.responses import FileResponse
from mlflow.environment_variables import MLFLOW_ENABLE_REMOTE_ASSISTANT
from mlflow.store.artifact.artifact_repo import ARTIFACT_STREAM_CHUNK_SIZE

from mlctl.tracking_server.health_middleware import HealthMiddleware, count_rows
from mlctl.tracking_server.server_config import ServerConfig

KEEP_ALIVE_S = 75  # idle clients under load are reset by uvicorn's 5
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


def run(plan: ServerConfig, sock: socket.socket) -> int:
    """Serve until SIGTERM; return the exit code."""
    gc.enable()
    from mlflow.server import app as flask_app
    from mlflow.server import handlers

    flask_app.add_url_rule("/mlctl/status", "mlctl_status", count_rows)
    if plan.auth_config:
        from mlflow.server import auth

        app = auth.create_app()
    else:
        from mlflow.server import fastapi_app

        app = fastapi_app.app
    FileResponse.chunk_size = (
        ARTIFACT_STREAM_CHUNK_SIZE  # 64 KB is a thread's turn for each of 800 pieces of 50 MB
    )
    handlers._get_tracking_store()
    handlers._get_model_registry_store()
    config = uvicorn.Config(
        HealthMiddleware(app, plan),
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=None,  # the launcher knows how long
        access_log=False,
        server_header=False,
        ssl_certfile=plan.tls_cert,
        ssl_keyfile=plan.tls_key,
        log_config=LOG_CONFIG,
        ws="none",
        lifespan="auto" if MLFLOW_ENABLE_REMOTE_ASSISTANT.get() else "off",  # it sweeps after the assistant
    )
    server = uvicorn.Server(config)
    server.run(sockets=[sock])
    return 0 if server.started else 1
