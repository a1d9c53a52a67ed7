"""One forked worker: uvicorn serves MLflow's own application behind the health middleware."""

from __future__ import annotations

import gc
import socket

import uvicorn
from fastapi.responses import FileResponse
from mlflow.environment_variables import MLFLOW_ENABLE_REMOTE_ASSISTANT
from mlflow.store.artifact.artifact_repo import ARTIFACT_STREAM_CHUNK_SIZE

from mlctl.tracking_server.health_middleware import HealthMiddleware, count_rows
from mlctl.tracking_server.server_config import ServerConfig

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


def run(config: ServerConfig, sock: socket.socket) -> int:
    """Serve until SIGTERM; return the exit code."""
    gc.enable()
    from mlflow.server import app as flask_app
    from mlflow.server import handlers

    flask_app.add_url_rule("/mlctl/status", "mlctl_status", count_rows)
    if config.auth_config:
        from mlflow.server import auth

        from mlctl.tracking_server import credential_cache

        credential_cache.install()
        app = auth.create_app()
    else:
        from mlflow.server import fastapi_app

        app = fastapi_app.app
    # with the default of 64 KB, a file of 50 MB takes 800 chunks, and each of them waits for a thread
    FileResponse.chunk_size = ARTIFACT_STREAM_CHUNK_SIZE
    handlers._get_tracking_store()
    handlers._get_model_registry_store()
    uvicorn_config = uvicorn.Config(
        HealthMiddleware(app, config),
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
