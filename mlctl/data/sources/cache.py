"""What all that fetches into the cache shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlctl.errors import ConfigurationError

Progress = Callable[[str, int, int | None], None]  # (name, bytes done, bytes in all or None)


def writing(path: Path, exc: OSError) -> ConfigurationError:
    """Return the one error for a cache that cannot be written: read-only, full, not ours."""
    return ConfigurationError(
        f"{path} cannot be written: {exc.strerror or exc}",
        "make room or set MLCTL_CACHE_DIR to a folder that can be written; or give the data: --data PATH",
    )
