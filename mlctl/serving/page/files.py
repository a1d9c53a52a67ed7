"""The files of the endpoint's web page. Only the files named here are served."""

from __future__ import annotations

import functools
from pathlib import Path

CONTENT_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "picture.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "programs.js": "text/javascript; charset=utf-8",
}
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-cache"),
]


@functools.cache
def find(path: str) -> tuple[bytes, str] | None:
    """Return the content and content type of a page file, or None if the path is not one."""
    name = "index.html" if path == "/" else path.removeprefix("/page/")
    if name not in CONTENT_TYPES or (path != "/" and not path.startswith("/page/")):
        return None
    return (Path(__file__).parent / name).read_bytes(), CONTENT_TYPES[name]
