"""What tells this machine from others, and a process from all that ever ran on it."""

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


def birth(pid: int) -> str | None:
    """Return what no other process of this pid has: the boot, and the kernel's clock ticks from it to the start.

    A clock that is set does not change it, as it changes a time of day. None for a process that is gone, and
    where the kernel does not tell (anywhere but on Linux).
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return f"{boot} {int(fields[19])}"  # field 22 of all; the name before the bracket may hold spaces
