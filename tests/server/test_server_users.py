"""Users of a server with --auth: permissions, groups, and who may move the stages of a model."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from mlflow import MlflowClient

from mlctl import credentials
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.audit import AuditEntry
from mlctl.domain.users import Grant
from mlctl.errors import BadDataError, ConfigurationError, NotFoundError, RefusedError, UsageError
from mlctl.services.server import tokens, users
from mlctl.services.server.audit import read_audit_log
from mlctl.services.server.login import login
from mlctl.tracking_server.audit_middleware import READING_METHODS
from tests.parts import eventually, free_port
from tests.parts.command_line import CommandLine
from tests.parts.server_zygote import ServerZygote

pytestmark = pytest.mark.live

ADMIN, PASSWORD = "admin-Secret-4713", "users-Secret-4713"
PROXY = "127.0.0.3"  # every other address of this machine is a client's


class Team:
    """A running server and requests of its users."""

    def __init__(self, line: CommandLine, url: str) -> None:
        self.line, self.url = line, url

    def send(
        self, user: str, method: str, path: str, body: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        password = ADMIN if user == "admin" else PASSWORD
        options = {"auth": (user, password), **options}
        return requests.request(method, f"{self.url}/api/2.0/mlflow/{path}", json=body, timeout=30, **options)

    def accepts(self, user: str, method: str, path: str, body: dict[str, Any]) -> bool:
        """Return whether the server does it; it says 403 if not."""
        answer = self.send(user, method, path, body)
        exists = "RESOURCE_ALREADY_EXISTS" in answer.text  # after a retry of a test
        assert exists or answer.status_code in {200, 403}, f"{path}: {answer.text}"
        return exists or bool(answer.status_code == 200)

    def add(self, *names: str) -> None:
        for name in names:
            assert self.accepts("admin", "POST", "users/create", {"username": name, "password": PASSWORD})


@pytest.fixture(scope="module")
def team(
    tmp_path_factory: pytest.TempPathFactory,
    server_zygote: ServerZygote,
    empty_store: Callable[[Path], str],
) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("users")
    empty_store(folder / "work")
    (folder / "work" / "admin").write_text(ADMIN)
    line = CommandLine(folder / "state", folder / "work", zygote=server_zygote)
    up = line.json(
        *("server-up", "--port", "0", "--workers", "1", "--auth", "proxy", "--trusted-proxy", PROXY),
        *("--admin-password-file", "admin"),
        *("--default-permission", "none"),
    )
    line.environment = {
        "MLFLOW_TRACKING_URI": up["url"],
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": ADMIN,
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    running = Team(line, up["url"])
    for name in ("fraud", "churn"):
        running.send("admin", "POST", "experiments/create", {"name": name})
    yield running
    line.kill_servers()


@pytest.fixture
def as_admin(team: Team, monkeypatch: pytest.MonkeyPatch) -> str:
    return log_in(monkeypatch, team, "admin")


def log_in(monkeypatch: pytest.MonkeyPatch, team: Team, user: str) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN if user == "admin" else PASSWORD)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(team.line.cwd / "no-config"))
    return team.url


def audited(team: Team, user: str, lines: int) -> tuple[AuditEntry, ...]:
    """Return the last audit entries of a user."""
    return read_audit_log("main", team.line.state, lines=lines, user=user, since_s=3600).entries


def may_read(team: Team, user: str, experiment: str) -> bool:
    status = team.send(user, "GET", f"experiments/get-by-name?experiment_name={experiment}").status_code
    assert status in {200, 403}
    return bool(status == 200)


def test_users_from_the_command_line(team: Team, as_admin: str) -> None:
    line = team.line
    (line.cwd / "ada").write_text(PASSWORD)
    assert "added" in line("users", "add", "ada", "--password-file", "ada").stdout
    granted = line.json("users", "grant", "ada", "edit", "-e", "fraud")
    assert granted["changes"] == ["may edit experiment fraud"]
    listed = line.json("users", "list")["users"]
    assert [user["name"] for user in listed if user["is_admin"]] == ["admin"]
    assert {"kind": "experiment", "name": "fraud", "permission": "edit"} in listed[0]["grants"] + listed[1][
        "grants"
    ]
    changed = line.json("users", "password", "ada", "--password-file", "-", stdin="another-Secret-4713\n")
    assert changed["changes"] == ["password changed"]
    users.delete(as_admin, "ada")


def test_own_password_is_changed_where_it_is_stored(
    team: Team, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    team.add("eve")
    url = log_in(monkeypatch, team, "eve")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    login(url, "eve", PASSWORD)
    changed = users.change_password(url, "eve", "another-Secret-4713")
    assert changed.changes == ("password changed", "and stored for this machine")
    assert credentials.find(url) == ("eve", "another-Secret-4713")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "another-Secret-4713")
    with pytest.raises(RefusedError, match="may not do this"):
        users.delete(url, "admin")
    users.change_password(url, "eve", PASSWORD)


def test_permissions_of_a_user_and_of_a_group(team: Team, as_admin: str) -> None:
    team.add("bob", "cleo")
    assert not may_read(team, "bob", "fraud")
    users.grant(as_admin, "bob", "read", experiments=["fraud"])
    assert may_read(team, "bob", "fraud")
    assert not team.accepts("bob", "POST", "runs/create", {"experiment_id": "1"})
    users.grant(as_admin, "bob", "edit", experiments=["fraud"])  # replaces read
    assert team.accepts("bob", "POST", "runs/create", {"experiment_id": "1"})
    users.revoke(as_admin, "bob", experiments=["fraud"])
    assert not may_read(team, "bob", "fraud")

    with pytest.raises(NotFoundError, match="no group @analysts"):
        users.grant(as_admin, "cleo", "@analysts")
    users.grant(as_admin, "@analysts", "manage", experiments=["*"])
    users.grant(as_admin, "@analysts", "read", experiments=["*"], models=["*"])
    users.grant(as_admin, "cleo", "@analysts")
    assert may_read(team, "cleo", "churn")
    assert not team.accepts("cleo", "POST", "runs/create", {"experiment_id": "1"})
    listed = users.list_users(as_admin)
    (group,) = listed.groups
    assert (group.name, group.members) == ("analysts", ("cleo",))
    assert group.grants == (Grant("experiment", "*", "read"), Grant("model", "*", "read"))
    users.grant(as_admin, "cleo", "none", experiments=["fraud"])  # wins over the group
    assert not may_read(team, "cleo", "fraud")
    users.revoke(as_admin, "cleo", "@analysts")
    assert not may_read(team, "cleo", "churn")
    users.delete(as_admin, "@analysts")
    assert users.list_users(as_admin).groups == ()

    users.grant(as_admin, "cleo", "admin")
    assert may_read(team, "cleo", "fraud")
    users.revoke(as_admin, "cleo", "admin")
    assert not may_read(team, "cleo", "fraud")


def test_every_write_is_in_the_audit_log(team: Team) -> None:
    team.add("iris")
    secret = "not-in-the-log-4713"
    folder = team.line.state / "servers"
    (file,) = folder.glob("*.audit.jsonl")
    before = len(file.read_text().splitlines())
    team.send("admin", "POST", "users/create", {"username": "ivo", "password": secret})
    run = team.send("admin", "POST", "runs/create", {"experiment_id": "1"}).json()["run"]["info"]["run_id"]
    metrics = [{"key": f"m{number}", "value": 1, "timestamp": 1, "step": 0} for number in range(3000)]
    team.send("admin", "POST", "runs/log-batch", {"run_id": run, "metrics": metrics[:1]})
    team.send("admin", "POST", "runs/log-batch", {"run_id": run, "metrics": metrics})
    team.send("admin", "POST", "runs/set-tag", {"run_id": run, "key": "note", "value": secret})
    put = {"data": b"text", "auth": ("admin", ADMIN), "timeout": 30}
    requests.put(f"{team.url}/api/2.0/mlflow-artifacts/artifacts/1/{run}/artifacts/a.txt", **put)
    team.send("iris", "POST", "experiments/delete", {"experiment_id": "1"})
    team.send("iris", "POST", "experiments/delete", {"experiment_id": "1"}, auth=("iris", secret))
    team.send("admin", "POST", "runs/search", {"experiment_ids": ["1"]})
    team.send("admin", "GET", f"runs/get?run_id={run}")

    entries = team.line.json("server-audit", "--lines", str(len(file.read_text().splitlines()) - before))
    noted = [(entry["user"], entry["path"], entry["what"], entry["status"]) for entry in entries]
    assert noted == [
        ("admin", "users/create", {"username": "ivo"}, 200),
        ("admin", "runs/create", {"experiment_id": "1"}, 200),
        ("admin", "runs/log-batch", {"run_id": run}, 200),
        ("admin", "runs/log-batch", {"run_id": run}, 400),
        ("admin", "runs/set-tag", {"run_id": run, "key": "note"}, 200),
        ("admin", f"mlflow-artifacts/artifacts/1/{run}/artifacts/a.txt", {}, 200),
        ("iris", "experiments/delete", {"experiment_id": "1"}, 403),
        (None, "experiments/delete", {"experiment_id": "1"}, 401),  # nobody has checked the name
    ]
    assert {entry["source"] for entry in entries} == {"127.0.0.1"}
    assert entries[0]["at"] <= entries[-1]["at"]
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    (last,) = audited(team, "iris", 1)
    assert last.status == 403


def test_no_request_hides_from_the_audit_log(team: Team) -> None:
    team.add("hans")
    run = team.send("admin", "POST", "runs/create", {"experiment_id": "1"}).json()["run"]["info"]["run_id"]
    tag = {"run_id": run, "key": "note", "value": "x"}

    def noted(status: int, path: str, body: dict[str, Any], **options: Any) -> AuditEntry:
        method = options.pop("method", "POST")
        assert team.send("admin", method, path, body, **options).status_code == status
        return read_audit_log("main", team.line.state, lines=1).entries[0]

    # half a surrogate pair in a field that MLflow does not know
    assert noted(200, "runs/set-tag", {**tag, "alias": "\ud800"}).what["run_id"] == run
    padded = noted(200, "runs/set-tag", {"padding": "x" * 100_000, **tag})
    assert padded.what == {"run_id": run, "key": "note"}
    upper = {"method": "DELETE", "headers": {"Content-Type": "Application/JSON"}}
    assert noted(400, "registered-models/delete", {"name": ""}, **upper).what == {"name": ""}
    upload = f"../../../api/2.0/mlflow-artifacts/mpu/create/1/{run}/artifacts/search"
    assert noted(501, upload, {"path": "search", "num_parts": 1}).path.startswith("mlflow-artifacts/mpu")
    # a request that is refused before anybody has checked the password
    foreign = {"Host": "elsewhere.example.com"}
    refused = noted(403, "runs/set-tag", tag, headers=foreign, auth=("admin", "wrong-Secret-4713"))
    assert refused.user is None
    assert noted(200, "runs/set-tag", tag).user == "admin"


def test_a_token_acts_for_its_user_until_it_is_revoked(
    team: Team, as_admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.add("ci", "kim")
    users.grant(as_admin, "ci", "edit", experiments=["fraud"])
    (secret_line,) = team.line(
        *("tokens", "new", "nightly", "--user", "ci", "--expires", "90d")
    ).stdout.splitlines()
    database = team.line.cwd / "mlflow.db"
    assert secret_line.encode() not in database.read_bytes() + Path(f"{database}-wal").read_bytes()

    def status(path: str = "runs/create", method: str = "POST", **options: Any) -> int:
        bearer = {"Authorization": f"Bearer {secret_line}"}
        body = {"experiment_id": "1"}
        return int(
            team.send("ci", method, path, body, **{"auth": None, "headers": bearer} | options).status_code
        )

    assert status() == 200
    assert status(auth=("ci", secret_line), headers={}) == 200
    assert status(auth=("admin", secret_line), headers={}) == 401  # it is another user's
    assert status("experiments/delete") == 403  # the user may not
    assert status("users/update-password", "PATCH") == 403
    assert status("../../../mlctl/tokens", "POST") == 403
    client = MlflowClient(team.url)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", secret_line)
    client.log_artifact(client.create_run("1").info.run_id, __file__)
    assert audited(team, "ci", 1)[0].token == "nightly"
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")

    log_in(monkeypatch, team, "kim")
    assert tokens.list_tokens(as_admin).tokens == ()
    with pytest.raises(RefusedError, match="may not"):
        tokens.create_token(as_admin, "theft", username="ci", lifetime_s=60)
    with pytest.raises(NotFoundError, match="no token 'nightly'"):
        tokens.revoke_token(as_admin, "nightly")
    own = tokens.create_token(as_admin, "kims", lifetime_s=0.5)
    assert own.username == "kim"
    with pytest.raises(RefusedError, match="already"):
        tokens.create_token(as_admin, "kims", lifetime_s=0.5)
    with pytest.raises(BadDataError, match="366 days"):
        tokens.create_token(as_admin, "long", lifetime_s=1e9)
    log_in(monkeypatch, team, "admin")
    assert {token.name for token in tokens.list_tokens(as_admin).tokens} >= {"kims", "nightly"}
    tokens.revoke_token(as_admin, "nightly")
    time.sleep(0.6)
    assert status() == 401
    assert status(auth=("kim", own.secret), headers={}) == 401  # it has expired
    assert {token.name: token.is_expired for token in tokens.list_tokens(as_admin).tokens}["kims"]
    users.delete(as_admin, "kim")
    assert "kims" not in {token.name for token in tokens.list_tokens(as_admin).tokens}


class FromAddress(requests.adapters.HTTPAdapter):
    """Sends requests from an address of this machine."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, source_address=(self._address, 0), **options)


def user_of(team: Team, address: str, headers: dict[str, str]) -> str | int:
    """Return the user that the server takes a request for, or the status of its answer."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", FromAddress(address))
        answer = session.get(f"{team.url}/api/2.0/mlflow/users/current", headers=headers, timeout=30)
    return str(answer.json()["user"]["username"]) if answer.ok else answer.status_code


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all addresses of 127/8")
def test_only_a_trusted_proxy_names_the_user(team: Team, as_admin: str) -> None:
    named = {"X-Forwarded-User": "olga"}
    assert user_of(team, "127.0.0.2", named) == 401
    assert user_of(team, "127.0.0.2", {**named, "X-Forwarded-For": PROXY}) == 401
    assert user_of(team, PROXY, {}) == 401
    assert user_of(team, PROXY, {"X-Forwarded-User": ""}) == 401
    assert user_of(team, PROXY, named) == "olga"
    assert user_of(team, PROXY, {**named, "X-Forwarded-For": "10.1.2.3"}) == "olga"
    for name in ("admin", "Admin", "a:b", "@analysts", "x" * 300, "ol\u00e9"):
        assert user_of(team, PROXY, {"X-Forwarded-User": name}) == 403, name
    basic = requests.auth._basic_auth_str("admin", ADMIN)
    assert user_of(team, PROXY, {"Authorization": basic}) == "admin"
    assert user_of(team, PROXY, {"Authorization": basic, **named}) == "olga"
    (olga,) = (user for user in users.list_users(as_admin).users if user.name == "olga")
    assert (olga.is_admin, olga.grants) == (False, ())


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.needs("nginx")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all addresses of 127/8")
def test_the_documented_nginx_logs_users_in(team: Team, as_admin: str, tmp_path: Path) -> None:
    """Its login service is a server of the same nginx that knows one cookie."""
    port, login_port = free_port(), free_port()
    page = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
    (locations,) = re.findall(r"^```nginx\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    locations = locations.replace("127.0.0.1:4180", f"127.0.0.1:{login_port}")
    locations = locations.replace("http://127.0.0.1:5000", f"{team.url}; proxy_bind {PROXY}")
    user = "user root;" if os.geteuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(f"""
        daemon off; pid nginx.pid; {user} events {{}}
        http {{
          access_log off;
          server {{ listen 127.0.0.1:{port};
          {locations} }}
          server {{ listen 127.0.0.1:{login_port}; location / {{
            if ($cookie_session = "olgas") {{ add_header X-Auth-Request-User olga always; return 202; }}
            return 401; }} }}
        }}""")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with (tmp_path / "log").open("wb") as log:
        nginx = subprocess.Popen([program, "-p", tmp_path, "-c", "nginx.conf"], stdout=log, stderr=log)

    def status(path: str, cookie: str = "", method: str = "GET", **options: Any) -> int:
        options["headers"] = {"Cookie": f"session={cookie}", **options.get("headers", {})}
        body = {"experiment_id": "1"} if method == "POST" else None
        url = f"http://127.0.0.1:{port}/{path}"
        return requests.request(method, url, json=body, timeout=30, **options).status_code

    try:
        eventually(lambda: is_open(port), 10)
        page = "ajax-api/2.0/mlflow/experiments/get?experiment_id=1"
        pretends = {"X-Forwarded-User": "admin"}
        assert status("") == 401
        assert status("", headers=pretends) == 401
        assert status("", "olgas") == 200
        assert status(page, "olgas") == 403
        users.grant(as_admin, "olga", "edit", experiments=["fraud"])
        assert status(page, "olgas") == 200
        claims = {"X-Forwarded-User": "admin", "Cookie": "session=olgas"}
        who = requests.get(
            f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/users/current", headers=claims, timeout=30
        )
        assert who.json()["user"]["username"] == "olga"
        assert status("ajax-api/2.0/mlflow/runs/create", "olgas", "POST") == 200
        assert status("api/2.0/mlflow/runs/create", "olgas", "POST") == 401  # programs send a token
        assert status("api/2.0/mlflow/runs/create", "", "POST", headers=pretends) == 401
        token = tokens.create_token(as_admin, "behind", username="olga", lifetime_s=60).secret
        bearer = {"Authorization": f"Bearer {token}"}
        assert status("api/2.0/mlflow/runs/create", "", "POST", headers=bearer) == 200
    finally:
        nginx.terminate()
        nginx.wait()
    entries = audited(team, "olga", 2)
    assert [(entry.token, entry.source, entry.via) for entry in entries] == [
        (None, "127.0.0.1", PROXY),
        ("behind", "127.0.0.1", PROXY),
    ]


def test_what_cannot_be_granted(team: Team, as_admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    team.add("dan")
    for what, targets, error, text in (
        ("reed", {"models": ["*"]}, UsageError, "no permission 'reed'"),
        ("read", {}, UsageError, "which experiment or model"),
        ("admin", {"models": ["*"]}, UsageError, "no single experiment"),
        ("read", {"experiments": ["nothing"]}, NotFoundError, "nothing"),
        ("read", {"models": ["nothing"]}, NotFoundError, "nothing"),
    ):
        with pytest.raises(error, match=text) as caught:
            users.grant(as_admin, "dan", what, **targets)
    assert caught.value.hint == "see what exists: mlctl models list"
    for name, text in (("a:b", "invalid user name"), ("@a", "invalid user name")):
        with pytest.raises(UsageError, match=text):
            users.add_user(as_admin, name, PASSWORD)
    with pytest.raises(RefusedError, match=r"^User \(username=dan\) already exists$"):
        users.add_user(as_admin, "dan", PASSWORD)
    with pytest.raises(BadDataError, match="12"):
        users.add_user(as_admin, "short", "short")
    with pytest.raises(UsageError, match="not a server"):
        users.list_users("sqlite:///x.db")
    with pytest.raises(NotFoundError, match="nobody"):
        users.grant(as_admin, "nobody", "read", experiments=["*"])
    log_in(monkeypatch, team, "dan")
    with pytest.raises(RefusedError, match="may not"):
        users.grant(as_admin, "dan", "manage", experiments=["fraud"])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with pytest.raises(ConfigurationError, match="refuses these credentials"):
        users.list_users(as_admin)


def test_only_who_may_manage_a_model_moves_its_stages(
    team: Team, as_admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the client: these are the requests of MLflow's own."""
    team.add("edna", "max")
    assert team.accepts("admin", "POST", "registered-models/create", {"name": "Fraud"})
    version = {"name": "Fraud", "source": "s3://models/1"}
    assert team.accepts("admin", "POST", "model-versions/create", version)
    users.grant(as_admin, "edna", "edit", models=["Fraud"])
    users.grant(as_admin, "max", "manage", models=["Fraud"])

    model = {"name": "Fraud"}
    moves = [
        ("POST", "registered-models/alias", {"alias": "production", "version": "1"}),
        ("DELETE", "registered-models/alias", {"alias": "production"}),
        ("POST", "model-versions/transition-stage", {"version": "1", "stage": "Production"}),
        ("POST", "registered-models/set-tag", {"key": "mlctl.log.0000000001.0123456789ab", "value": "x"}),
        ("DELETE", "registered-models/delete-tag", {"key": "mlctl.log.0000000001.0123456789ab"}),
        ("POST", "registered-models/set-tag", {"key": "mlctl.lock.x", "value": "x"}),
        ("DELETE", "registered-models/delete-tag", {"key": "mlctl.lock.x"}),
    ]
    outside = [
        ("POST", "registered-models/set-tag", {"key": "mlflow.prompt.is_prompt", "value": "true"}),
        ("POST", "registered-models/rename", {"new_name": "Taken"}),
    ]
    for method, path, body in [*moves, *outside]:
        answer = team.send("edna", method, path, model | body)
        assert answer.status_code == 403, path
        ajax = f"../../../ajax-api/2.0/mlflow/{path}"
        assert not team.accepts("edna", method, ajax, model | body)
    allowed = {"key": "owner", "value": "edna"}
    assert team.accepts("edna", "POST", "registered-models/set-tag", model | allowed)
    assert team.accepts("edna", "PATCH", "registered-models/update", model | {"description": "x"})
    for method, path, body in moves:
        assert team.accepts("max", method, path, model | body)

    refused = team.send("edna", "POST", "registered-models/alias", model | moves[0][2])
    assert "may MANAGE" in refused.json()["message"]
    log_in(monkeypatch, team, "edna")
    with pytest.raises(ConfigurationError, match="may not change the registered model"):
        Registry(TrackingStore(as_admin)).set_alias("Fraud", "staging", "1")


def test_the_checks_read_the_same_request_as_the_server(team: Team, as_admin: str) -> None:
    """MLflow's checks would take the model from the address, and its handlers from the body."""
    team.add("dora")
    for user, name in (("admin", "Guarded"), ("dora", "Own")):
        assert team.accepts(user, "POST", "registered-models/create", {"name": name})
        assert team.accepts(user, "POST", "model-versions/create", {"name": name, "source": "s3://models/1"})
        alias = {"name": name, "alias": "production", "version": "1"}
        assert team.accepts(user, "POST", "registered-models/alias", alias)
    users.grant(as_admin, "dora", "edit", models=["Guarded"])
    query = {"name": "Own", "alias": "production", "version": "1", "key": "mlctl.log.x"}
    body = json.dumps({**query, "name": "Guarded"})
    for path in (
        *("registered-models/alias", "registered-models/delete-tag", "registered-models/delete"),
        *("model-versions/delete-tag", "model-versions/delete"),
    ):
        for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-json"}):
            options = {"params": query, "data": body, "headers": headers, "auth": ("dora", PASSWORD)}
            for prefix in ("api", "ajax-api"):
                url = f"{team.url}/{prefix}/2.0/mlflow/{path}"
                answer = requests.delete(url, timeout=30, **options)
                assert answer.status_code == 400, path
                assert "content type application/json" in answer.json()["message"]
    assert team.accepts("dora", "DELETE", "registered-models/alias", {**query, "version": None})
    holder = team.send("admin", "GET", "registered-models/alias?name=Guarded&alias=production").json()
    assert holder["model_version"]["version"] == "1"


def test_addresses_written_in_another_way_reach_nothing(team: Team, as_admin: str) -> None:
    team.add("paul")
    assert team.accepts("admin", "POST", "registered-models/create", {"name": "Paths"})
    version = {"name": "Paths", "source": "s3://models/1"}
    assert team.accepts("admin", "POST", "model-versions/create", version)
    users.grant(as_admin, "paul", "edit", models=["Paths"])
    alias = {"name": "Paths", "alias": "production", "version": "1"}
    for path in (
        *("/api/2.0/mlflow/registered-models/alias/", "/api/2.0/mlflow//registered-models/alias"),
        *("//api/2.0/mlflow/registered-models/alias", "/API/2.0/mlflow/registered-models/alias"),
        *("/api/2.0/mlflow/registered-models/%61lias", "/api/2.0/mlflow/registered%2Dmodels/alias"),
        *("/api/2.0/mlflow/registered-models%2Falias", "/api/2.0/mlflow/x/../registered-models/alias"),
        *(
            "/static-files/../api/2.0/mlflow/registered-models/alias",
            "/api/3.0/mlflow/registered-models/alias",
        ),
        *("/health/../api/2.0/mlflow/registered-models/alias", "/api/2.0/mlflow/registered-models/alias;x"),
        *("/api/2.0/mlflow/registered-models/alias%20", "/api/2.0/mlflow/registered-models/%2561lias"),
    ):
        # it sends the path as it is
        connection = http.client.HTTPConnection(urlsplit(team.url).netloc, timeout=30)
        authorization = requests.auth._basic_auth_str("paul", PASSWORD)
        headers = {"Content-Type": "application/json", "Authorization": authorization}
        for method in ("POST", "PUT", "PATCH"):
            connection.request(method, path, json.dumps(alias), headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status >= 300, (method, path)
        connection.close()
    model = team.send("admin", "GET", "registered-models/get?name=Paths").json()["registered_model"]
    assert "aliases" not in model


# Every address of this MLflow that changes registered models. A new one must be judged before it is added here: may
# whoever may edit a model use it, although it moves stages?
MODEL_WRITES = {
    ("registered-models/create", "POST"),
    ("registered-models/update", "PATCH"),  # of the description
    ("registered-models/delete", "DELETE"),  # needs MANAGE
    ("model-versions/create", "POST"),  # a new version has no stage
    ("model-versions/update", "PATCH"),  # of the description
    ("model-versions/delete", "DELETE"),  # needs MANAGE
    ("model-versions/set-tag", "POST"),
    ("model-versions/delete-tag", "DELETE"),
}


def test_every_route_that_changes_models_is_known() -> None:
    from mlflow.server import app

    from mlctl.tracking_server.promotion_rights import GUARDED_ROUTES, TAG_ROUTES

    guarded = {(path.lstrip("/"), method) for path, method in GUARDED_ROUTES | TAG_ROUTES}
    reading = {("model-versions/search", "POST"), ("registered-models/get-latest-versions", "POST")}
    rules = [(rule.rule.partition("/mlflow/")[2], rule.methods or ()) for rule in app.url_map.iter_rules()]
    found = {
        (path, method)
        for path, methods in rules
        for method in methods
        if path.startswith(("registered-models", "model-versions")) and method not in READING_METHODS
    }
    assert found - reading - MODEL_WRITES == guarded
    assert guarded.isdisjoint(MODEL_WRITES)


def test_an_alias_of_a_prompt_needs_no_more_than_before(team: Team, as_admin: str) -> None:
    team.add("pia")
    tags = [{"key": "mlflow.prompt.is_prompt", "value": "true"}, {"key": "mlflow.prompt.text", "value": "x"}]
    assert team.accepts("admin", "POST", "registered-models/create", {"name": "Greet", "tags": tags})
    version = {"name": "Greet", "source": "dummy-source", "tags": tags}
    assert team.accepts("admin", "POST", "model-versions/create", version)
    grant = {"username": "pia", "resource_type": "prompt", "resource_id": "Greet", "permission": "EDIT"}
    path = "../../3.0/mlflow/users/permissions/grant"
    assert team.accepts("admin", "POST", path, grant)
    alias = {"name": "Greet", "alias": "best", "version": "1"}
    assert team.accepts("pia", "POST", "registered-models/alias", alias)


def test_the_counts_are_of_what_the_user_may_read(team: Team) -> None:
    team.add("counting")
    team.send("admin", "POST", "experiments/create", {"name": "counted"})
    team.line("users", "grant", "counting", "read", "-e", "counted")

    def counts(user: str) -> Any:
        auth = (user, ADMIN if user == "admin" else PASSWORD)
        return requests.get(f"{team.url}/mlctl/status", auth=auth, timeout=30).json()

    assert counts("counting") == {"runs": 0, "experiments": 1, "models": 0}
    assert counts("admin")["experiments"] >= 3
