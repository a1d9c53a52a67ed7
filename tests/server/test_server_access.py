"""The options that say who may use a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl import credentials
from mlctl.cli.commands import _with_implied_values
from mlctl.domain.server import ServerAccess
from mlctl.errors import UsageError
from mlctl.services.server.preflight import _check_access

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ([], []),
        (["--auth"], ["--auth", "basic"]),
        (["--auth", "--port", "0"], ["--auth", "basic", "--port", "0"]),
        (["--port", "0", "--auth", "proxy"], ["--port", "0", "--auth", "proxy"]),
        (["--auth", "basic", "--auth"], ["--auth", "basic", "--auth", "basic"]),
    ],
)
def test_auth_alone_means_passwords(typed: list[str], parsed: list[str]) -> None:
    assert _with_implied_values(typed) == parsed


@pytest.mark.parametrize(
    ("access", "message"),
    [
        (ServerAccess(auth=True, by_proxy=True), "need each other"),
        (ServerAccess(trusted_proxies=("10.0.0.1",)), "need each other"),
        (ServerAccess(auth=True, by_proxy=True, trusted_proxies=("proxy",)), "not the address"),
        (ServerAccess(auth=True, by_proxy=True, trusted_proxies=("0.0.0.0/0",)), "trusts every client"),
        (ServerAccess(auth=True, by_proxy=True, trusted_proxies=("10.0.0.1", "::/0")), "trusts every client"),
        (
            ServerAccess(auth=True, by_proxy=True, trusted_proxies=("10.0.0.1",), user_header="a b"),
            "invalid header",
        ),
    ],
)
def test_proxies_that_cannot_be_trusted(access: ServerAccess, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _check_access(access)


def test_proxies_may_be_networks() -> None:
    proxies = ("10.0.0.5", "10.1.0.7/16", "fd00::1")
    _check_access(ServerAccess(auth=True, by_proxy=True, trusted_proxies=proxies))


def test_a_new_password_replaces_only_the_stored_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    url = "https://mlflow.example.com"
    assert not credentials.replace(url, ("ada", "old"), "new")
    credentials.save(url, "ada", "old", "/cert.pem")
    assert not credentials.replace(url, ("bob", "old"), "new")
    assert credentials.find(url) == ("ada", "old")
    assert credentials.replace(url, ("ada", "old"), "new")
    assert credentials.find(url) == ("ada", "new")
    assert "/cert.pem" in credentials.path().read_text()
