"""The nouns of the tracking server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Bucket:
    """Where artifacts are kept on S3; `prefix` has no slash at either end."""

    name: str
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None

    @property
    def uri(self) -> str:
        """The place as MLflow writes it."""
        return f"s3://{self.name}/{self.prefix}" if self.prefix else f"s3://{self.name}"


@dataclass(frozen=True)
class Backend:
    """The database: its URI without a password, and the password where one was given to us.

    Without one, libpq looks into PGPASSWORD and ~/.pgpass itself.
    """

    uri: str
    password: str | None = field(default=None, repr=False)

    @property
    def sqlite_file(self) -> Path | None:
        """The file of an embedded database."""
        return Path(self.uri.removeprefix("sqlite:///")) if self.uri.startswith("sqlite:///") else None

    @property
    def shown(self) -> str:
        """The URI as a person writes it, without the driver's name."""
        scheme, _, rest = self.uri.partition("://")
        return f"{scheme.partition('+')[0]}://{rest}"

    @property
    def host(self) -> str:
        """The database server's host and port."""
        parts = urlsplit(self.uri)
        return f"{parts.hostname or 'localhost'}:{parts.port or 5432}"


@dataclass(frozen=True)
class ServerLocation:
    """Where one server keeps everything: a database, and a folder or a bucket for artifacts."""

    root: Path
    backend: Backend
    bucket: Bucket | None = None
    direct: bool = False

    @property
    def folder(self) -> Path:
        """The folder for artifacts, where there is no bucket."""
        return self.root / "mlartifacts"

    @property
    def destination(self) -> str:
        """Where artifacts end up."""
        return self.bucket.uri if self.bucket else str(self.folder)


@dataclass(frozen=True)
class Access:
    """Who may reach a server, and how."""

    host: str = "127.0.0.1"
    port: int = 5000
    auth: bool = False
    insecure: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrackingServer:
    """One server of this machine, and how it is.

    `status` is up, starting, not ready (it runs, but its database does not answer) or gone. `counts` are the
    rows of runs, experiments and models, None where they could not be asked for. `remark` is something about
    how it was started that deserves a look.
    """

    name: str
    url: str
    pid: int
    log: str
    status: str
    backend: str
    bucket: str | None
    artifacts: str
    began_at: float | None = None
    counts: Mapping[str, int] | None = None
    mlflow: str = ""
    workers: int = 0
    auth: bool = False
    memory_mb: float | None = None
    errors: tuple[str, ...] = ()
    already: bool = False
    admin_password: str | None = field(default=None, repr=False)
    strays: tuple[StrayExperiment, ...] = ()
    remark: str = ""


@dataclass(frozen=True)
class StrayExperiment:
    """An experiment whose artifacts lie in a folder of the machine that made it, not behind the server."""

    experiment_id: str
    name: str
    location: str
    files: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class ServerList:
    """Every server that this machine has noted."""

    servers: tuple[TrackingServer, ...]


@dataclass(frozen=True)
class StoppedServer:
    """What became of a server that was to stop: gracefully, firmly, or gone before."""

    name: str
    how: str
    pid: int


@dataclass(frozen=True)
class Login:
    """Credentials that a server took, and the file in which they are kept."""

    url: str
    username: str
    file: str


@dataclass(frozen=True)
class Adoption:
    """Experiments that were, or would be, moved behind a server, and those whose folders are elsewhere."""

    movable: tuple[StrayExperiment, ...]
    elsewhere: tuple[StrayExperiment, ...]
    destination: str
    done: bool = False


@dataclass(frozen=True)
class Backup:
    """What a backup file holds; without artifacts it knows their checksums.

    `elsewhere` are artifacts that it does not know: they are in another store, or on another machine.
    `vanished` is how many files went away while it was made, which nothing in it needs.
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


@dataclass(frozen=True)
class GcReport:
    """What is deleted for ever, or would be.

    `held` are deleted things that a registered version still needs; `left_alone` are places of which only the
    rows go: another store's, ones that somebody chose, and ones that something living is in.
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


@dataclass(frozen=True)
class Exported:
    """Files for one way to run a server: name -> content."""

    kind: str
    folder: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Migrated:
    """A database whose schema is the one that the installed MLflow wants."""

    backend: str
    revision: str
