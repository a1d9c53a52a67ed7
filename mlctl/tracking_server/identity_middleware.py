"""The middleware that finds out whose request it is if it has an access token, or comes from a trusted proxy.

It replaces the credentials by a secret that only this process knows, with the user's name, so that MLflow's
authentication and its permissions apply as if the user had sent a password.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import secrets

from mlctl.tracking_server.access_tokens import TOKEN_PREFIX, AccessTokens
from mlctl.tracking_server.credential_cache import request_scope
from mlctl.tracking_server.health_middleware import Application, Receive, Scope, Send, send_response
from mlctl.tracking_server.trusted_proxies import InvalidUserNameError, TrustedProxies

READING_METHODS = {"GET", "HEAD", "OPTIONS"}
ADMINISTRATION = re.compile(r"/mlflow/(users|roles)/|/mlctl/tokens")


class IdentityMiddleware:
    """Passes a request with a valid token, or of a trusted proxy, on as its user's; refuses an invalid token.

    Args:
        app: MLflow's application.
        tokens: The tokens of its users.
        proxies: The proxies that may name the user; a named user wins over a token.
        process_secret: Accepted in place of every password, see `credential_cache`.
    """

    def __init__(
        self, app: Application, tokens: AccessTokens, proxies: TrustedProxies, process_secret: str
    ) -> None:
        self.app, self._tokens, self._proxies, self._process_secret = app, tokens, proxies, process_secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            named = self._proxies.user_of(scope)
        except InvalidUserNameError:
            await _refuse(send, 403, b"The proxy names a user that this server cannot have.")
            return
        request_scope.set(scope)
        if named is not None:
            await asyncio.to_thread(self._proxies.ensure_user, named)
            scope["mlctl.user"] = named
            self._replace_credentials(scope, named)
        elif credentials := _token_in(scope):
            username, secret = credentials
            token = await asyncio.to_thread(self._tokens.find, secret)
            if token is None or username not in {"", token.username}:
                await _refuse(send, 401, b"The access token is invalid, revoked or expired.")
                return
            scope["mlctl.user"], scope["mlctl.token"] = token.username, token.name
            if scope["method"] not in READING_METHODS and ADMINISTRATION.search(scope["path"]):
                await _refuse(send, 403, b"An access token cannot change users, roles or tokens.")
                return
            self._replace_credentials(scope, token.username)
        await self.app(scope, receive, send)

    def _replace_credentials(self, scope: Scope, username: str) -> None:
        encoded = base64.b64encode(f"{username}:{self._process_secret}".encode())
        kept = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        scope["headers"] = [*kept, (b"authorization", b"Basic " + encoded)]


def new_process_secret() -> str:
    """Return a secret for this process."""
    return secrets.token_urlsafe(32)


def _token_in(scope: Scope) -> tuple[str, str] | None:
    """Return (user name or "", token) of a request; None if it has no token."""
    header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, content = header.decode("latin-1").partition(" ")
    username, secret = "", content.strip()
    if scheme.lower() == "basic":
        try:
            username, _, secret = base64.b64decode(content).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
    return (username, secret) if secret.startswith(TOKEN_PREFIX) else None


async def _refuse(send: Send, status: int, text: bytes) -> None:
    await send_response(send, status, body=text, content_type=b"text/plain; charset=utf-8")
