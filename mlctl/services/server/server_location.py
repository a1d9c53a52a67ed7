"""Turn command-line options into a ServerLocation, and a ServerLocation into the entry of a state file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from mlctl import mysql
from mlctl.adapters.system import local_servers
from mlctl.domain.server import Backend, Bucket, ServerLocation
from mlctl.errors import BadDataError, UsageError
from mlctl.files import read_secret
from mlctl.settings import SECRET_QUERY_KEYS, Settings

SECRET_KEYS = {*SECRET_QUERY_KEYS, "passfile"}  # libpq reads these from a URI's query
DRIVERS = {  # without them, SQLAlchemy looks for other drivers
    "postgresql": "postgresql+psycopg2",
    "postgres": "postgresql+psycopg2",
    "mysql": mysql.SCHEME,
    "mariadb": mysql.SCHEME,
}
CLOUD_ADDRESS = (
    r"(gs://[a-z0-9][a-z0-9._-]+|wasbs://[a-z0-9$-]+@[a-z0-9]+\.blob\.core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net))"
    r"(/[^?#]*)?"
)
URI_HINT = "write postgresql://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE"


def build_location(
    root: Path | None = None,
    *,
    backend: str | None = None,
    backend_file: str | None = None,
    artifacts: str | None = None,
    bucket: str | None = None,
    prefix: str = "",
    endpoint_url: str | None = None,
    region: str | None = None,
    direct: bool = False,
) -> ServerLocation:
    """Return the location that these options name.

    Args:
        root: The folder of an embedded database and of artifacts; by default the current folder.
        backend: The database's URI, without a password; by default a SQLite file in `root`.
        backend_file: A file whose first line is the database's URI, which may hold a password; "-" is stdin.
        artifacts: The address of artifacts on Google Cloud Storage or Azure Blob Storage, gs://BUCKET/PREFIX or
            wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/PREFIX.
        bucket: The S3 bucket for artifacts; by default they are in a folder in `root`.
        prefix: A prefix in the bucket.
        endpoint_url: The address of an S3-compatible service.
        region: The bucket's region.
        direct: Clients write to the bucket themselves.

    Raises UsageError if the options contradict each other, or if `backend` holds a password.
    """
    root = (root or Path()).expanduser().resolve()
    if backend and backend_file:
        raise UsageError("--backend and --backend-file both name a database", "use only one of them")
    if artifacts and bucket:
        raise UsageError("--artifacts and --bucket both say where artifacts are", "use only one of them")
    if artifacts:
        _check_cloud(artifacts)
        if prefix or endpoint_url or region:
            raise UsageError(
                "--prefix, --endpoint-url and --region are for S3", "write the prefix in --artifacts"
            )
    if not bucket and not artifacts and (prefix or endpoint_url or region or direct):
        raise UsageError(
            "--prefix, --endpoint-url, --region and --direct-artifacts need --bucket or --artifacts",
            "add --bucket",
        )
    if backend_file:
        database = _parse_backend(_read_uri(backend_file), password_allowed=True)
    elif backend:
        database = _parse_backend(backend, password_allowed=False)
    else:
        database = Backend(f"sqlite:///{root / 'mlflow.db'}")
    if not bucket:
        cloud = artifacts.rstrip("/") if artifacts else None
        return ServerLocation(root=root, backend=database, direct=direct, cloud=cloud)
    name = bucket.removeprefix("s3://").strip("/")
    if "/" in name:
        raise UsageError(f"--bucket {bucket} holds a folder too", "name the folder with --prefix")
    s3 = Bucket(name=name, prefix=prefix.strip("/"), endpoint_url=endpoint_url, region=region)
    return ServerLocation(root=root, backend=database, bucket=s3, direct=direct)


def location_of_server(name: str, settings: Settings, **options: Any) -> ServerLocation:
    """Return the location that the options name; without any option, that of the server started here as `name`."""
    state = local_servers.server_files(settings.state_dir).read(name)
    if state and not any(options.values()):
        return location_from_state(state["place"])
    return location_from_options(settings, **options)


def location_from_options(settings: Settings, **options: Any) -> ServerLocation:
    """Return the location that the options name; the bucket is mlctl.toml's if no option names one."""
    default = None if options["artifacts"] else settings.bucket
    return build_location(**{**options, "bucket": options["bucket"] or default})


def typed_location_keys(options: Mapping[str, Any]) -> frozenset[str]:
    """Return which of root, backend, bucket and artifacts the user typed."""
    typed = {
        "root": options["root"] is not None,
        "backend": options["backend"] or options["backend_file"],
        "bucket": options["bucket"],
        "artifacts": options["artifacts"],
    }
    return frozenset(key for key, is_typed in typed.items() if is_typed)


def location_to_state(location: ServerLocation) -> dict[str, Any]:
    """Return a location as a state file holds it: without its password."""
    bucket = location.bucket
    return {
        "root": str(location.root),
        "backend": location.backend.display_uri,
        "artifacts": location.cloud,
        "bucket": bucket.name if bucket else None,
        "prefix": bucket.prefix if bucket else "",
        "endpoint_url": bucket.endpoint_url if bucket else None,
        "region": bucket.region if bucket else None,
        "direct": location.direct,
    }


def location_from_state(values: Mapping[str, Any]) -> ServerLocation:
    """Return the location that `location_to_state` wrote."""
    return build_location(**{**values, "root": Path(values["root"])})


def _check_cloud(uri: str) -> None:
    if not re.fullmatch(CLOUD_ADDRESS, uri):
        raise UsageError(
            f"invalid value {uri!r} for --artifacts",
            "write gs://BUCKET/PREFIX or wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/PREFIX; for S3, use --bucket",
        )


def _parse_backend(uri: str, password_allowed: bool) -> Backend:
    try:
        parts = urlsplit(uri)
        password = unquote(parts.password) if parts.password is not None else None
    except ValueError as exc:
        raise UsageError("invalid database URI", URI_HINT) from exc
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        return Backend(f"sqlite:///{Path(uri.partition(':///')[2]).expanduser().resolve()}")
    if scheme not in DRIVERS:
        shown = f"{parts.scheme}://" if parts.scheme else repr(uri)
        raise UsageError(
            f"a server cannot use the database --backend {shown}…",
            "write postgresql://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE or sqlite:///FILE",
        )
    query = parse_qsl(parts.query, keep_blank_values=True)
    secrets = {key.lower(): value for key, value in query if key.lower() in SECRET_KEYS}
    if not password_allowed and (password is not None or secrets):
        raise UsageError(
            "--backend holds a password, which every user of this machine can read in the process list",
            "put it into MYSQL_PWD or the file of --backend-file"
            if DRIVERS[scheme] == mysql.SCHEME
            else "put it into PGPASSWORD, ~/.pgpass or the file of --backend-file; name a passfile in PGPASSFILE",
        )
    if "sslpassword" in secrets:
        raise UsageError(
            "the database's URI holds sslpassword, which the server would show",
            "use a key that has no password of its own: sslkey=FILE",
        )
    if not parts.path.strip("/"):
        raise UsageError("--backend names no database", URI_HINT)
    user, at, host = parts.netloc.rpartition("@")
    public_query = parts.query
    if "password" in secrets:
        public_query = urlencode(
            [(key, value) for key, value in query if key.lower() != "password"], quote_via=quote, safe="/,:"
        )
    public_uri = urlunsplit(
        (DRIVERS[scheme], f"{user.partition(':')[0]}{at}{host}", parts.path, public_query, "")
    )
    return Backend(public_uri, secrets.get("password", password))


def _read_uri(file: str) -> str:
    uri = read_secret(file, content="the database's URI").partition("\n")[0].strip()
    if not uri:
        raise BadDataError(
            f"{'stdin' if file == '-' else file} is empty", "its first line must be the database's URI"
        )
    return uri
