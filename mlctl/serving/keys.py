"""API keys. The key file holds their SHA-256 and is read again when it changes, so a key needs no restart.

A key is 32 random bytes, so one round of SHA-256 is enough: nobody can guess it. Each line of the file is
`NAME SHA256 DATE`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import time
from dataclasses import dataclass
from pathlib import Path

RELOAD_INTERVAL_S = 0.5


@dataclass(frozen=True)
class ApiKey:
    """A line of the key file: the key's name, the SHA-256 of its secret in hexadecimal, and the creation date."""

    name: str
    sha256: str
    created: str


def parse_keys(text: str) -> list[ApiKey]:
    """Return the keys of a key file. Raises ValueError, which names the first malformed line."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split()
        if len(parts) != 3 or len(parts[1]) != 64 or set(parts[1]) - set("0123456789abcdef"):
            raise ValueError(f"line {number} is not NAME SHA256 DATE")
        keys.append(ApiKey(*parts))
    return keys


def hash_secret(secret: str) -> str:
    """Return the SHA-256 of a secret, as the key file holds it."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiKeyAuth:
    """Checks the API key of a request. If the key file becomes unreadable, the last good keys stay valid."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._keys = parse_keys(file.read_text(encoding="utf-8"))
        self._file_version = self._read_file_version()
        self._checked_at = time.monotonic()

    def key_name(self, authorization: bytes | None) -> str | None:
        """Return the name of the key in an Authorization header, or None if the key is missing or unknown.

        The key is the Bearer token, or the password of Basic authentication.
        """
        if time.monotonic() - self._checked_at > RELOAD_INTERVAL_S:
            self._reload_if_changed()
        secret = _secret(authorization or b"")
        if not secret:
            return None
        presented = hashlib.sha256(secret).hexdigest()
        matches = [key.name for key in self._keys if hmac.compare_digest(key.sha256, presented)]
        return matches[0] if matches else None

    def _reload_if_changed(self) -> None:
        self._checked_at = time.monotonic()
        try:
            if (version := self._read_file_version()) != self._file_version:
                self._keys = parse_keys(self.file.read_text(encoding="utf-8"))
                self._file_version = version
        except (OSError, ValueError):
            return  # a damaged file must not lock out the clients that had a valid key

    def _read_file_version(self) -> tuple[int, int, int]:
        status = os.stat(self.file)
        return status.st_mtime_ns, status.st_size, status.st_ino


def _secret(authorization: bytes) -> bytes:
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return credentials.strip()
    if scheme.lower() == b"basic":  # browsers ask the user for it
        try:
            return base64.b64decode(credentials.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
