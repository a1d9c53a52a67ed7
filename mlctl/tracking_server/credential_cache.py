"""A cache of verified passwords that every worker of every server forgets within a second of a change.

MLflow's own cache is private to a worker: after a password was changed on one, the others accept the old one until
their entry expires. This one compares each hit with the user's row in the database, at most twice a second per user.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

from cachetools import TTLCache
from mlflow.exceptions import MlflowException
from werkzeug.security import check_password_hash

CHECK_INTERVAL_S = 0.5
# the ASGI scope of the request that this task or thread answers; it gets the user whose password was verified
request_scope: ContextVar[MutableMapping[str, Any] | None] = ContextVar("request_scope", default=None)


class CredentialCache(TTLCache[tuple[str, bytes], Any]):
    """Users by name and digest of their password; an entry counts only if the user's row is still the same.

    Args:
        store: MLflow's store of users.
        maxsize: Number of entries.
        ttl: Seconds after which a password is verified again, even if nothing has changed.
        process_secret: What stands for a password that this process itself has verified.
    """

    def __init__(self, store: Any, maxsize: int, ttl: float, process_secret: str = "") -> None:
        super().__init__(maxsize=maxsize, ttl=ttl)
        self._get_user = store.get_user
        self._process_secret = process_secret.encode()
        self._checked: dict[str, tuple[float, Any]] = {}  # user name -> when, and its row
        self._verified = threading.local()

    def get(self, key: tuple[str, bytes], default: Any = None) -> Any:
        """Return the user, or the default if the password was not verified or the user has changed since."""
        user = super().get(key)
        if user is None:
            return default
        row = self._current_row(key[0])
        if row == _row(user):
            _note_user(key[0])
            return user
        self.pop(key, None)
        return default

    def __setitem__(self, key: tuple[str, bytes], user: Any) -> None:
        """Remember a user, unless the password was changed while it was being verified."""
        if getattr(self._verified, "hash", None) == user.password_hash:
            super().__setitem__(key, user)

    def authenticate_user(self, username: str, password: str, **_: Any) -> bool:
        """Verify a password, as the store's method of this name, and note the hash that it was compared with."""
        try:
            user = self._get_user(username)
        except MlflowException:
            return False
        self._verified.hash = user.password_hash
        if self._process_secret and secrets.compare_digest(password.encode(), self._process_secret):
            return True
        is_right: bool = check_password_hash(user.password_hash, password)
        if is_right:
            _note_user(username)
        return is_right

    def _current_row(self, username: str) -> Any:
        now = time.monotonic()
        checked_at, row = self._checked.get(username, (0.0, None))
        if now - checked_at > CHECK_INTERVAL_S:
            try:
                row = _row(self._get_user(username))
            except MlflowException:  # deleted
                row = None
            self._checked[username] = now, row
        return row


def install(process_secret: str) -> None:
    """Let MLflow's authentication use this cache."""
    from mlflow.server import auth

    settings = auth.auth_config
    cache = CredentialCache(
        auth.store, settings.auth_cache_max_size, settings.auth_cache_ttl_seconds, process_secret
    )
    auth._USER_AUTH_CACHE = cache
    auth.store.authenticate_user = cache.authenticate_user


def _note_user(username: str) -> None:
    scope = request_scope.get()
    if scope is not None:
        scope["mlctl.user"] = username


def _row(user: Any) -> tuple[Any, ...]:
    return user.id, user.password_hash, user.is_admin
