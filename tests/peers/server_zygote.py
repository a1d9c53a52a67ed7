"""A process that imports what servers share, and forks one for each line of JSON on stdin; it prints its pid.

`mlflow.server` is imported after the fork, because it reads the environment then.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import traceback
import uuid
from typing import Any


def main() -> None:
    import mlflow.genai  # part of what every server imports
    import mlflow.store.model_registry.sqlalchemy_workspace_store
    import mlflow.store.tracking.sqlalchemy_workspace_store  # noqa: F401
    import uvicorn.protocols.http.auto  # noqa: F401

    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    children = []
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            code = 1
            try:
                code = _serve(json.loads(line))
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
        print(child, file=answers, flush=True)
    for child in children:  # the tests have ended, perhaps by a signal
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


def _serve(wish: dict[str, Any]) -> int:
    os.chdir(wish["cwd"])
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "_MLFLOW_SERVER"))]:
        del os.environ[name]
    return _serve_mlctl(wish) if wish["kind"] == "mlctl" else _serve_stock(wish)


def _serve_mlctl(wish: dict[str, Any]) -> int:
    from mlctl.tracking_server import launcher
    from mlctl.tracking_server.server_config import ServerConfig

    return launcher.launch(
        ServerConfig(
            name="peer",
            instance=uuid.uuid4().hex,
            host="127.0.0.1",
            port=wish["port"],
            backend_uri=wish["backend_uri"],
            artifact_root=wish["artifact_root"],
            artifacts_destination=wish["destination"],
            workers=1,
            auth_config=wish["env"].get("MLFLOW_AUTH_CONFIG_PATH") if wish["auth"] else None,
            settings=wish["env"],
        )
    )


def _serve_stock(wish: dict[str, Any]) -> int:
    import uvicorn

    os.environ.update(
        {
            "_MLFLOW_SERVER_FILE_STORE": wish["backend_uri"],
            "_MLFLOW_SERVER_REGISTRY_STORE": wish["backend_uri"],
            "_MLFLOW_SERVER_ARTIFACT_ROOT": wish["artifact_root"],
            "_MLFLOW_SGI_NAME": "uvicorn",  # without it, `create_app` returns a Flask application
            **wish["env"],
        }
    )
    if wish["destination"]:
        os.environ["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"
        os.environ["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] = wish["destination"]
    if wish["auth"]:
        from mlflow.server import auth

        if hasattr(auth, "bootstrap_admin_user"):  # newer versions leave that to `mlflow server`
            auth.bootstrap_admin_user()
        app: Any = auth.create_app()
    else:
        from mlflow.server.fastapi_app import app
    uvicorn.run(app, host="127.0.0.1", port=wish["port"], log_level="error")
    return 0


if __name__ == "__main__":
    main()
