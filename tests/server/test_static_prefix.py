"""server-up --static-prefix: the server below a path, and the files for nginx and Kubernetes."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from mlctl.domain.server import Bucket, ServerAccess
from mlctl.errors import UsageError
from mlctl.services.server import export, up
from mlctl.services.server.server_location import build_location
from mlctl.services.server.up import check_static_prefix
from mlctl.tracking_server.launcher import mlflow_environment
from mlctl.tracking_server.prefix_middleware import PrefixMiddleware

pytestmark = pytest.mark.unit


def ask(path: str, query: bytes = b"") -> tuple[list[dict[str, Any]], list[Any]]:
    """Return the scopes that the application got, and the messages that the client got."""
    scopes: list[dict[str, Any]] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "raw_path": path.encode(), "query_string": query}
    asyncio.run(PrefixMiddleware(app, "/team/ml")(scope, receive, send))
    return scopes, sent


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/team/ml/", "/"),
        ("/team/ml/api/2.0/mlflow/runs/get", "/api/2.0/mlflow/runs/get"),
        ("/team/ml//x", "//x"),
        ("/ready", "/ready"),  # a health check of this machine, or a proxy that removes the prefix
        ("/team/mlx/y", "/team/mlx/y"),
        ("/x/team/ml/y", "/x/team/ml/y"),
        ("/team/ml/team/ml/y", "/team/ml/y"),
    ],
)
def test_the_application_gets_paths_without_the_prefix(path: str, found: str) -> None:
    [scope], sent = ask(path)
    assert (scope["path"], scope["raw_path"], sent) == (found, found.encode(), [])


def test_the_prefix_itself_gets_a_slash() -> None:
    scopes, sent = ask("/team/ml", b"a=1")
    assert scopes == []
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"location"]) == (308, b"/team/ml/?a=1")


@pytest.mark.parametrize(
    "prefix", ["mlflow", "/", "/a b", "//host", "/a//b", "/a{b}", "/a;b", "/a\n", "/..", "/api/x"]
)
def test_a_prefix_that_is_no_path(prefix: str) -> None:
    with pytest.raises(UsageError, match="--static-prefix"):
        check_static_prefix(prefix)


def test_a_slash_at_the_end_is_removed() -> None:
    assert check_static_prefix("/team/ml/") == "/team/ml"
    assert check_static_prefix("") == ""


def render(kind: str, prefix: str) -> dict[str, str]:
    exported = export.render_files(
        kind,
        Path("out"),
        host="mlflow.example.com",
        image="mlctl:latest",
        bucket=Bucket(name="models"),
        database_port=5432,
        upstreams=["127.0.0.1:5000"],
        static_prefix=prefix,
    )
    return dict(exported.files)


def test_exported_files_have_the_prefix() -> None:
    nginx = render("nginx", "/team/ml")["mlflow.conf"]
    assert "location /team/ml {" in nginx
    assert "location ~ ^/team/ml/(health|ready)$ {" in nginx
    kubernetes = render("kubernetes", "/team/ml/")
    assert "- path: /team/ml\n" in kubernetes["ingress.yaml"]
    assert "            - --static-prefix=/team/ml\n" in kubernetes["deployment.yaml"]
    assert "--static-prefix=/team/ml" in render("compose", "/team/ml")["compose.yaml"]


def test_without_a_prefix_the_files_are_as_before() -> None:
    nginx = render("nginx", "")["mlflow.conf"]
    assert "location / {" in nginx
    assert "location ~ ^/(health|ready)$ {" in nginx
    assert "- path: /\n" in render("kubernetes", "")["ingress.yaml"]
    assert "static-prefix" not in "".join(render("kubernetes", "").values())


def test_a_server_for_artifacts_only(tmp_path: Path) -> None:
    location = build_location(root=tmp_path)
    options = up.ServerOptions(artifacts_only=True, static_prefix="/team/ml", metrics=False)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        config = up._server_config(
            location,
            ServerAccess(),
            options,
            sock=sock,
            state_file=tmp_path / "main.json",
            basic_auth=None,
        )
        state = up._new_state(location, ServerAccess(), config, log=tmp_path / "main.log")
    assert mlflow_environment(config)["_MLFLOW_SERVER_ARTIFACTS_ONLY"] == "true"
    assert state["url"] == f"http://127.0.0.1:{config.port}/team/ml"
    assert state["local_url"] == f"http://127.0.0.1:{config.port}"
    key = config.secrets["MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"]
    assert up._webhook_key(tmp_path / "main.webhook-key") == key  # the next start finds it
    assert (tmp_path / "main.webhook-key").stat().st_mode & 0o777 == 0o600


def test_artifacts_only_and_direct_artifacts(tmp_path: Path) -> None:
    location = build_location(root=tmp_path, bucket="models", direct=True)
    with pytest.raises(UsageError, match="--artifacts-only and --direct-artifacts"):
        up.start_server(location, ServerAccess(), up.ServerOptions(artifacts_only=True), tmp_path)
