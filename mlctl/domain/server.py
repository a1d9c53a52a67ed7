"""Tracking servers: their location, access, status, backups and maintenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """An S3 bucket for artifacts; `prefix` has no slash at either end."""

    name: str
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None

    @property
    def uri(self) -> str:
        """The s3:// URI, as MLflow writes it."""
        return f"s3://{self.name}/{self.prefix}" if self.prefix else f"s3://{self.name}"


@dataclass(frozen=True)
class Backend:
    """A database: its URI without a password, and the password if the user gave one.

    Without a password, libpq itself reads PGPASSWORD and ~/.pgpass; for MySQL, mlctl reads MYSQL_PWD.
    """

    uri: str
    password: str | None = field(default=None, repr=False)

    @property
    def sqlite_file(self) -> Path | None:
        """The file of a SQLite database; None for a database server."""
        return Path(self.uri.removeprefix("sqlite:///")) if self.uri.startswith("sqlite:///") else None

    @property
    def is_mysql(self) -> bool:
        """Whether it is a database of MySQL or MariaDB."""
        return self.uri.startswith("mysql+")

    @property
    def display_uri(self) -> str:
        """The URI without the driver's name, as a person writes it."""
        scheme, _, rest = self.uri.partition("://")
        return f"{scheme.partition('+')[0]}://{rest}"

    @property
    def host(self) -> str:
        """The host and port of the database server."""
        parts = urlsplit(self.uri)
        return f"{parts.hostname or 'localhost'}:{parts.port or (3306 if self.is_mysql else 5432)}"

    @property
    def password_variable(self) -> str:
        """The environment variable in which the database's driver finds the password."""
        return "MYSQL_PWD" if self.is_mysql else "PGPASSWORD"


@dataclass(frozen=True, kw_only=True)
class ServerLocation:
    """Where one server keeps its data: a database, and a folder or a bucket for artifacts.

    `direct` says that clients read and write artifacts themselves instead of through the server. `cloud` is the address
    of artifacts on Google Cloud Storage (gs://) or Azure Blob Storage (wasbs://), without a slash at its end.
    """

    root: Path
    backend: Backend
    bucket: Bucket | None = None
    direct: bool = False
    cloud: str | None = None

    @property
    def folder(self) -> Path:
        """The folder for artifacts; used if there is no bucket."""
        return self.root / "mlartifacts"

    @property
    def destination(self) -> str:
        """The bucket or folder in which artifacts are stored."""
        return self.remote_uri or str(self.folder)

    @property
    def remote_uri(self) -> str | None:
        """The address of the bucket or container of the artifacts; None for a folder."""
        return self.bucket.uri if self.bucket else self.cloud


@dataclass(frozen=True, kw_only=True)
class ServerAccess:
    """Who can reach a server, and how.

    Attributes:
        by_proxy: Whether trusted proxies say who the user is.
        trusted_proxies: Their addresses and networks.
        user_header: The header in which they send the user's name.
    """

    host: str = "127.0.0.1"
    port: int = 5000
    auth: bool = False
    insecure: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    default_permission: str = "read"
    by_proxy: bool = False
    trusted_proxies: tuple[str, ...] = ()
    user_header: str = "X-Forwarded-User"


@dataclass(frozen=True, kw_only=True)
class TrackingServer:
    """One server of this machine, and its status.

    Attributes:
        status: up, starting, "not ready" (it runs, but its database or bucket does not answer) or gone.
        trouble: Why it is not ready.
        counts: Number of runs, experiments and models; None if they are unknown.
        already_running: Whether it ran already when the user asked to start it.
        local_experiments: Experiments whose artifacts are in local folders.
        warning: A warning about how it was started.
    """

    name: str
    url: str
    pid: int
    log: str
    status: str
    backend: str
    bucket: str | None
    artifacts: str
    started_at: float | None = None
    counts: Mapping[str, int] | None = None
    mlflow: str = ""
    workers: int = 0
    auth: bool = False
    memory_mb: float | None = None
    errors: tuple[str, ...] = ()
    already_running: bool = False
    admin_password: str | None = field(default=None, repr=False)
    local_experiments: tuple[LocalExperiment, ...] = ()
    warning: str = ""
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class LocalExperiment:
    """An experiment whose artifacts are in a folder of the machine that created it, not behind the server."""

    experiment_id: str
    name: str
    location: str
    files: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class ServerList:
    """All servers that were started on this machine."""

    servers: tuple[TrackingServer, ...]


@dataclass(frozen=True)
class StoppedServer:
    """A stopped server; `how` is gracefully, firmly (it was killed) or gone (it had ended before)."""

    name: str
    how: str
    pid: int


@dataclass(frozen=True)
class Login:
    """Credentials that a server accepted, and the file in which they are stored."""

    url: str
    username: str
    file: str


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """Experiments that were moved behind a server, or would be moved.

    Attributes:
        elsewhere: Experiments that cannot be moved, because their folders are on another machine or shared.
        done: Whether they were moved.
    """

    movable: tuple[LocalExperiment, ...]
    elsewhere: tuple[LocalExperiment, ...]
    destination: str
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class Backup:
    """The content of a backup file.

    Attributes:
        with_artifacts: Whether it contains the artifacts; otherwise it contains their checksums.
        elsewhere: Artifacts that it does not cover, because they are in another store or on another machine.
        vanished: Number of files that disappeared while it was written; nothing in it needs them.
    """

    file: str
    size_bytes: int
    runs: int
    models: int
    artifacts: int
    artifact_bytes: int
    with_artifacts: bool
    backend: str
    elsewhere: tuple[str, ...] = ()
    vanished: int = 0


@dataclass(frozen=True, kw_only=True)
class GcReport:
    """What garbage collection deleted permanently, or would delete.

    Attributes:
        held: Deleted items that a registered version still needs; they stay.
        left_alone: Artifact locations that stay although their database rows are deleted: those of another store,
            those that a user chose, and those that contain something that is not deleted.
        objects: Number of deleted files.
        done: Whether they were deleted.
        older_than_s: What was deleted in the last so many seconds stays.
        recent: Number of items that stay for this reason.
    """

    backend: str
    runs: tuple[str, ...]
    experiments: tuple[str, ...]
    models: tuple[str, ...]
    held: tuple[str, ...]
    left_alone: tuple[str, ...]
    objects: int
    size_bytes: int
    done: bool = False
    older_than_s: float = 0
    recent: int = 0


@dataclass(frozen=True)
class ExportedFiles:
    """Files of one way to run a server or serve a model: name -> content."""

    kind: str
    folder: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class MigratedDatabase:
    """A database with the schema of the installed MLflow."""

    backend: str
    revision: str
