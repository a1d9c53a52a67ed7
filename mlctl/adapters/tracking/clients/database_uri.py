"""Read the URIs of databases as SQLAlchemy reads them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote

POSTGRES_SCHEMES = ("postgresql://", "postgresql+psycopg2://")
POSTGRES_URI = re.compile(
    r"[\w+]+://"
    r"(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>\d*))?"
    r"(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?"
)


def sqlite_path(tracking_uri: str) -> Path:
    """Return the file of a SQLite URI, relative to the working directory."""
    path = tracking_uri.partition(":///")[2].partition("?")[0]
    if "%" in path:
        from sqlalchemy import make_url  # its versions differ in what they decode

        path = make_url(tracking_uri).database or ""
    return Path(path or ":memory:")


def postgres_arguments(tracking_uri: str) -> dict[str, str] | None:
    """Return the arguments of `psycopg2.connect`; None for a URI that only SQLAlchemy understands."""
    parsed = POSTGRES_URI.fullmatch(tracking_uri)
    if parsed is None:
        return None
    parts = parsed.groupdict()
    options = parse_qsl(parts.pop("query") or "")
    host = parts.pop("ipv6") or parts.pop("host", None)
    parts = {name: unquote(value) for name, value in parts.items() if value and name != "host"}
    query = dict(options)
    if len(query) < len(options) or set(":,") & set(query.get("host", "")):
        return None  # several hosts
    return {**parts, **({"host": host} if host else {}), **query}
