"""A pytest plugin that gives MLflow's test suites a server in a process of its own: stock's, or that of server-up.

MLflow's suites start servers in three ways, and each is replaced here: a thread with the application and the stores
of the test's own process, a process of the application, and `mlflow server`.
"""

from __future__ import annotations

import atexit
import configparser
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

KIND = os.environ["PEER_SERVER"]
PERMISSIONS = ("READ", "EDIT", "MANAGE", "NO_PERMISSIONS")
_parents: list[subprocess.Popen[str]] = []


def _parent() -> subprocess.Popen[str]:
    """Return the process that has imported MLflow and forks servers."""
    if not _parents:
        _parents.append(
            subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("server_zygote.py"))],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        atexit.register(_parents[0].kill)
    return _parents[0]


@contextlib.contextmanager
def serve(
    backend_uri: str, artifact_root: str, *, destination: str | None = None, env: dict[str, Any] | None = None,
    auth: bool = False, port: int | None = None, artifacts_only: bool = False,
) -> Iterator[str]:  # fmt: skip
    """Run a server until the block ends; yield its URL."""
    from tests.helper_functions import get_safe_port

    if KIND == "mlctl" and not backend_uri.startswith(("sqlite:", "postgresql:", "mysql:")):
        pytest.skip("mlctl has no file store")
    port = port or get_safe_port()
    values = {name: str(value) for name, value in (env or {}).items()}
    if auth:
        values["MLFLOW_AUTH_ADMIN_PASSWORD"] = os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]
        if KIND == "mlctl":
            values["MLFLOW_AUTH_CONFIG_PATH"] = _auth_config(
                values.get("MLFLOW_AUTH_CONFIG_PATH"), backend_uri
            )
    wish = {
        "kind": KIND, "port": port, "backend_uri": backend_uri, "artifact_root": artifact_root,
        "destination": destination, "env": values, "auth": auth, "artifacts_only": artifacts_only,
        "cwd": str(Path.cwd()),
    }  # fmt: skip
    parent = _parent()
    assert parent.stdin
    assert parent.stdout
    parent.stdin.write(json.dumps(wish) + "\n")
    parent.stdin.flush()
    pid = int(parent.stdout.readline())
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _wait(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 60
    while True:
        try:
            opener.open(f"{url}/health", timeout=2).read()
        except OSError:
            assert time.monotonic() < deadline, f"no server at {url}"
            time.sleep(0.05)
        else:
            return


def _auth_config(wanted: str | None, backend_uri: str) -> str:
    """Return a configuration as `mlctl server-up --auth` writes it, with the settings that a test asks for."""
    config = configparser.ConfigParser()
    if wanted:
        config.read(wanted)
    section = dict(config["mlflow"]) if config.has_section("mlflow") else {}
    section.setdefault("default_permission", "READ")
    section.setdefault("admin_username", "admin")
    section.setdefault("authorization_function", "mlflow.server.auth:authenticate_request_basic_auth")
    section |= {"database_uri": backend_uri.replace("%", "%%"), "auth_cache_ttl_seconds": "600"}
    file = Path(tempfile.mkdtemp()) / "auth.ini"
    file.write_text("[mlflow]\n" + "".join(f"{name} = {value}\n" for name, value in section.items()))
    return str(file)


class ServerThread:
    """In place of the class of MLflow's suites: serves the store that the test has initialized."""

    def __init__(self, app: object, port: int) -> None:
        self._app, self.port = app, port
        self.url = f"http://127.0.0.1:{port}"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> str:
        from mlflow.server import handlers

        store = handlers._tracking_store
        uri = getattr(store, "db_uri", "file:store")
        env = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
        root = getattr(store, "artifact_root_uri", "")
        return self._stack.enter_context(serve(uri, root, env=env, port=self.port))

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(self) -> None:
        self.__enter__()

    def shutdown(self) -> None:
        self._stack.close()

    def join(self, timeout: float | None = None) -> None:
        """Wait for nothing: `shutdown` has ended the process."""


@contextlib.contextmanager
def init_server(
    backend_uri: str,
    root_artifact_uri: str,
    extra_env: dict[str, Any] | None = None,
    app: str | None = None,
    **_: Any,
) -> Iterator[str]:
    """In place of the function of MLflow's suites."""
    import mlflow

    mlflow.set_tracking_uri(None)
    auth = "mlflow.server.auth" in (app or "")
    with serve(backend_uri, root_artifact_uri, env=extra_env, auth=auth) as url:
        yield url


class _Process:
    """What `_launch_server` of the suite for artifacts returns, which has the methods of a process."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack

    def kill(self) -> None:
        self._stack.close()

    terminate = kill

    def wait(self, timeout: float | None = None) -> int:
        return 0

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


def launch_server(
    host: str,
    port: int,
    backend_store_uri: str,
    default_artifact_root: str,
    artifacts_destination: str,
    **_: Any,
) -> _Process:
    """In place of the function that runs `mlflow server`."""
    stack = contextlib.ExitStack()
    env = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    stack.enter_context(
        serve(backend_store_uri, default_artifact_root, destination=artifacts_destination, env=env, port=port)
    )
    return _Process(stack)


def pytest_configure() -> None:
    from tests.tracking import integration_test_utils

    integration_test_utils.ServerThread = ServerThread
    integration_test_utils._init_server = init_server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        module = getattr(item, "module", None)
        if hasattr(module, "_launch_server"):
            module._launch_server = launch_server
