"""Whether two processes run on the same machine, where both have only an address of each other."""

from __future__ import annotations

import hashlib
import platform
import uuid
from pathlib import Path


def identity() -> str:
    """Return what tells this machine from others, and tells nobody anything else about it."""
    try:
        own = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except OSError:
        own = str(uuid.getnode())
    return hashlib.sha256(f"mlctl {own} {platform.node()}".encode()).hexdigest()[:16]
