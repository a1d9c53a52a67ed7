"""What everything that downloads into the cache shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlctl.errors import ConfigurationError

Progress = Callable[[str, int, int | None], None]  # (file name, bytes so far, bytes in all or None)


def cache_error(path: Path, exc: OSError) -> ConfigurationError:
    """Return the error for a cache that cannot be written: read-only, full, or another user's."""
    return ConfigurationError(
        f"cannot write {path}: {exc.strerror or exc}",
        "free some space, set MLCTL_CACHE_DIR to a writable folder, or give the data: --data PATH",
    )
