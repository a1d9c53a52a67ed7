"""API keys: a file of their SHA-256, looked at again when it changes, so that a key needs no restart.

A key is 32 random bytes: one SHA-256 is enough, since nobody can guess what was never chosen by a person. Each
line of the file is `NAME SHA256 DATE`.
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

LOOK_AGAIN_S = 0.5


@dataclass(frozen=True)
class Key:
    """One key as it is kept: its name, the SHA-256 of the secret in hexadecimal, and the day it was made."""

    name: str
    sha256: str
    made: str


def parse(text: str) -> list[Key]:
    """Return the keys of a key file; raises ValueError that names the line that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split()
        if len(parts) != 3 or len(parts[1]) != 64 or set(parts[1]) - set("0123456789abcdef"):
            raise ValueError(f"line {number} is not NAME SHA256 DATE")
        found.append(Key(*parts))
    return found


def digest(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


class ApiKeyAuth:
    """Says whether a request carries a key of the file; a file that breaks keeps the keys read before."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._keys = parse(file.read_text(encoding="utf-8"))
        self._seen = self._stamp()
        self._looked = time.monotonic()

    def name(self, authorization: bytes | None) -> str | None:
        """Return the name of the key in an Authorization header, Bearer or as Basic's password; None if none."""
        if time.monotonic() - self._looked > LOOK_AGAIN_S:
            self._look()
        secret = _secret(authorization or b"")
        if not secret:
            return None
        presented = hashlib.sha256(secret).hexdigest()
        fitting = [key.name for key in self._keys if hmac.compare_digest(key.sha256, presented)]
        return fitting[0] if fitting else None

    def _look(self) -> None:
        self._looked = time.monotonic()
        try:
            if (stamp := self._stamp()) != self._seen:
                self._keys = parse(self.file.read_text(encoding="utf-8"))
                self._seen = stamp
        except (OSError, ValueError):
            return  # it is being written, or was broken: who had a key keeps it

    def _stamp(self) -> tuple[int, int, int]:
        status = os.stat(self.file)
        return status.st_mtime_ns, status.st_size, status.st_ino


def _secret(authorization: bytes) -> bytes:
    scheme, _, rest = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.strip()
    if scheme.lower() == b"basic":  # a browser asks for it by itself
        try:
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
