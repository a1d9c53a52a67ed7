"""Reading where a server keeps things from what was typed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from mlctl.domain.server import Backend, Bucket, ServerLocation
from mlctl.errors import BadDataError, NotFoundError, UsageError
from mlctl.services.server import server_state
from mlctl.settings import SECRET_IN_QUERY, Settings

SECRET = {*SECRET_IN_QUERY, "passfile"}  # what libpq also takes from a URI's query
DRIVER = "postgresql+psycopg2"  # SQLAlchemy would otherwise look for another driver of that name


def locate(
    root: Path | None = None,
    backend: str | None = None,
    backend_file: str | None = None,
    bucket: str | None = None,
    prefix: str = "",
    endpoint_url: str | None = None,
    region: str | None = None,
    direct: bool = False,
) -> ServerLocation:
    """Return the place that these options name; without any, sqlite and a folder under `root` (here).

    `backend_file` names a file whose first line is the database's URI, password included; "-" is stdin.
    Raises UsageError where they contradict each other or hold a password.
    """
    root = (root or Path()).expanduser().resolve()
    if backend and backend_file:
        raise UsageError("--backend and --backend-file both name the database", "give one of them")
    if not bucket and (prefix or endpoint_url or region or direct):
        raise UsageError(
            "--prefix, --endpoint-url, --region and --direct-artifacts belong to --bucket", "add --bucket"
        )
    if backend_file:
        database = _backend(_first_line(backend_file), secret=True)
    elif backend:
        database = _backend(backend, secret=False)
    else:
        database = Backend(f"sqlite:///{root / 'mlflow.db'}")
    kept = (
        Bucket(bucket.removeprefix("s3://").strip("/"), prefix.strip("/"), endpoint_url, region)
        if bucket
        else None
    )
    if kept and "/" in kept.name:
        raise UsageError(f"--bucket {bucket} names a folder too", "name it in --prefix")
    return ServerLocation(root, database, kept, direct)


def locate_named(name: str, settings: Settings, **options: Any) -> ServerLocation:
    """Return the place of a server that was started here, unless the options name any place."""
    note = server_state.notes(settings.state_dir).read(name)
    if note and not any(options.values()):
        return from_note(note["place"])
    return locate_in(settings, **options)


def locate_in(settings: Settings, **options: Any) -> ServerLocation:
    """Return the place that the options name; the bucket is mlctl.toml's where they name none."""
    return locate(**{**options, "bucket": options["bucket"] or settings.bucket})


def stated(options: Mapping[str, Any]) -> frozenset[str]:
    """Return which of root, backend and bucket were typed."""
    typed = {
        "root": options["root"] is not None,
        "backend": options["backend"] or options["backend_file"],
        "bucket": options["bucket"],
    }
    return frozenset(name for name, given in typed.items() if given)


def as_note(place: ServerLocation) -> dict[str, Any]:
    """Return a place as it is noted: without its password."""
    bucket = place.bucket
    return {
        "root": str(place.root),
        "backend": place.backend.shown,
        "bucket": bucket.name if bucket else None,
        "prefix": bucket.prefix if bucket else "",
        "endpoint_url": bucket.endpoint_url if bucket else None,
        "region": bucket.region if bucket else None,
        "direct": place.direct,
    }


def from_note(note: dict[str, Any]) -> ServerLocation:
    """Return the place that was noted."""
    return locate(**{**note, "root": Path(note["root"])})


def _backend(uri: str, secret: bool) -> Backend:
    try:
        parts = urlsplit(uri)
        password = unquote(parts.password) if parts.password is not None else None
    except ValueError as exc:
        raise UsageError(
            "the database's URI cannot be read", "write postgresql://USER@HOST/DATABASE"
        ) from exc
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        return Backend(f"sqlite:///{Path(uri.partition(':///')[2]).expanduser().resolve()}")
    if scheme not in {"postgresql", "postgres"}:
        shown = f"{parts.scheme}://" if parts.scheme else repr(uri)
        raise UsageError(
            f"--backend {shown}… is not a database that a server can use",
            "write postgresql://… or sqlite:///…",
        )
    query = parse_qsl(parts.query, keep_blank_values=True)
    secrets = {key.lower(): value for key, value in query if key.lower() in SECRET}
    if not secret and (password is not None or secrets):
        raise UsageError(
            "--backend holds a password, which every user of this machine could read in the process list",
            "give it in PGPASSWORD, ~/.pgpass or --backend-file; a passfile in PGPASSFILE",
        )
    if "sslpassword" in secrets:
        raise UsageError(
            "the database's URI holds sslpassword, which the server would show",
            "name a key that has no password of its own: sslkey=…",
        )
    if not parts.path.strip("/"):
        raise UsageError("--backend names no database", "write postgresql://USER@HOST/DATABASE")
    user, at, host = parts.netloc.rpartition("@")
    kept = parts.query
    if "password" in secrets:
        kept = urlencode([one for one in query if one[0].lower() != "password"], quote_via=quote, safe="/,:")
    bare = urlunsplit((DRIVER, f"{user.partition(':')[0]}{at}{host}", parts.path, kept, ""))
    return Backend(bare, secrets.get("password", password))


def _first_line(file: str) -> str:
    if file == "-":
        text = sys.stdin.readline()
    else:
        try:
            text = Path(file).expanduser().read_text(encoding="utf-8")
        except FileNotFoundError as exc:
            raise NotFoundError(f"{file} is not there", "its first line is the database's URI") from exc
    line = text.strip().partition("\n")[0].strip()
    if not line:
        raise BadDataError(
            f"{'stdin' if file == '-' else file} is empty", "its first line is the database's URI"
        )
    return line
