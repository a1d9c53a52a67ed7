"""Finding the page's files; only the ones named here are served."""

from __future__ import annotations

import functools
from pathlib import Path

TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache"),
]


@functools.cache
def find(path: str) -> tuple[bytes, str] | None:
    """Return a page file's bytes and its content type; None for anything else."""
    name = "index.html" if path == "/" else path.removeprefix("/page/")
    if name not in TYPES or (path != "/" and not path.startswith("/page/")):
        return None
    return (Path(__file__).parent / name).read_bytes(), TYPES[name]
