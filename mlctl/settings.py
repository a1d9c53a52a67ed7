"""The settings of mlctl, each with its source.

Precedence: option > environment > ./mlctl.toml > the user's config.toml > default.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import platformdirs

from mlctl import mysql
from mlctl.errors import ConfigurationError, UsageError, did_you_mean
from mlctl.notifications import EVENTS, LOG, RUN_FAILED, RUN_FINISHED, SECRET_VARIABLE, NotifyTarget
from mlctl.units import parse_duration

PROJECT_FILE = "mlctl.toml"
SECRET_QUERY_KEYS = frozenset({"password", "sslpassword"})  # that a database's URI may have after its ?
DATABASE_SCHEMES = {"sqlite", "postgresql", "mysql", "mariadb", "mssql"}
SERVER_SCHEMES = {"http", "https", "databricks"}
SYSTEM_METRICS_VARIABLE = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING"
WORKSPACE_VARIABLE = "MLFLOW_WORKSPACE"
TYPE_NAMES = {list: "a list of strings", str: "a string", bool: "true or false"}

TomlFile = tuple[str, dict[str, Any]]  # path and content


@dataclass(frozen=True, kw_only=True)
class SettingSpec:
    """The declaration of one setting.

    Attributes:
        kind: Type in a TOML file; a list contains strings.
        environment: Environment variable; None for a setting that has none.
    """

    help: str
    kind: type = str
    environment: str | None = None
    default: Any = None


SETTINGS: Mapping[str, SettingSpec] = {
    "tracking_uri": SettingSpec(
        help="tracking store for runs and models",
        environment="MLFLOW_TRACKING_URI",
        default="sqlite:///mlflow.db",
    ),
    "experiment": SettingSpec(help="experiment of new runs", environment="MLFLOW_EXPERIMENT_NAME"),
    "workspace": SettingSpec(
        help="workspace of a tracking server with workspaces", environment=WORKSPACE_VARIABLE
    ),
    "data_dir": SettingSpec(help="folder that is searched for data first", environment="MLCTL_DATA_DIR"),
    "cache_dir": SettingSpec(
        help="folder for downloads and prepared data",
        environment="MLCTL_CACHE_DIR",
        default=platformdirs.user_cache_dir("mlctl"),
    ),
    "state_dir": SettingSpec(
        help="folder for the state of this machine's servers, endpoints and unfinished runs",
        environment="MLCTL_STATE_DIR",
        default=platformdirs.user_state_dir("mlctl"),
    ),
    "bucket": SettingSpec(help="S3 bucket of server-up without --bucket"),
    "report": SettingSpec(
        help="whether train, tune and automl log a report as an artifact", kind=bool, default=False
    ),
    "system_metrics": SettingSpec(
        help="whether runs record what they use of processor, memory, disk, network and GPU",
        kind=bool,
        environment=SYSTEM_METRICS_VARIABLE,
        default=True,
    ),
    "stages": SettingSpec(help="custom stages besides Staging and Production", kind=list, default=()),
}

NOTIFY = "notify"
NOTIFY_SETTINGS: Mapping[str, SettingSpec] = {
    "url": SettingSpec(help="HTTP address that gets a POST for each event"),
    "command": SettingSpec(help="program and arguments that get each event on stdin", kind=list),
    "events": SettingSpec(help="events that are told", kind=list),
    "secret_file": SettingSpec(help="file with the key that signs each POST"),
}

RETENTION = "retention"
RETENTION_SETTINGS: Mapping[str, SettingSpec] = {
    "deleted": SettingSpec(
        help="how long server-gc leaves deleted runs, experiments and models, such as 30d"
    ),
}
PLAIN_TABLES = {NOTIFY: NOTIFY_SETTINGS, RETENTION: RETENTION_SETTINGS}

# tables of the form [models.NAME], and the settings of each NAME; None: another module checks them
TABLES: Mapping[str, Mapping[str, SettingSpec] | None] = {
    "models": {
        "require": SettingSpec(help="required metric values, as in --require", kind=list),
        "no_regress": SettingSpec(help="metrics that must not get worse, as in --no-regress", kind=list),
        "evaluate": SettingSpec(help="recipe or data on which both versions are evaluated"),
        "from": SettingSpec(help="stage that a version must be in before its promotion"),
        "smoke": SettingSpec(help="whether a version must load and predict its input example", kind=bool),
    },
    "recipes": None,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings; `sources` maps each name to where its value came from."""

    tracking_uri: str
    experiment: str | None
    data_dir: Path | None
    cache_dir: Path
    state_dir: Path
    workspace: str | None = None
    bucket: str | None = None
    report: bool = False
    system_metrics: bool = True
    stages: tuple[str, ...] = ()
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notify: NotifyTarget | None = None
    retention: str = "0s"
    sources: Mapping[str, str] = field(default_factory=dict)

    def listing(self) -> list[tuple[str, str, str]]:
        """Return (name, value, source) of every setting, including those of tables, with passwords masked."""
        values = [(name, getattr(self, name)) for name in SETTINGS]
        values += [
            (f"{table}.{name}.{key}", value)
            for table in TABLES
            for name, entries in getattr(self, table).items()
            for key, value in entries.items()
        ]
        listing = [(name, mask_passwords(_format(value)), self.sources[name]) for name, value in values]
        if RETENTION in self.sources:
            listing.append((f"{RETENTION}.deleted", self.retention, self.sources[RETENTION]))
        return listing + self._notify_listing()

    def with_notify(self, choice: bool | None) -> Settings:
        """Return the settings with which a run's end is told, or not; None leaves that to [notify].

        Raises ConfigurationError if it is to be told, and there is no [notify].
        """
        if choice is None or (self.notify is None and not choice):
            return self
        if self.notify is None:
            raise ConfigurationError(
                "--notify: the settings name nobody to tell",
                f'add url = "https://…" or command = ["PROGRAM", …] to the table [{NOTIFY}] of {PROJECT_FILE}',
            )
        run_events = {RUN_FINISHED, RUN_FAILED}
        events = [event for event in self.notify.events if event not in run_events]
        self.notify.to_json()  # its key can be read
        return replace(self, notify=replace(self.notify, events=(*events, *(run_events if choice else ()))))

    def apply_to_environment(self) -> None:
        """Let this process and those that it starts use the workspace, and record no system metrics if they are off."""
        if not self.system_metrics:
            os.environ[SYSTEM_METRICS_VARIABLE] = "false"
        if self.workspace:
            os.environ[WORKSPACE_VARIABLE] = self.workspace

    def _notify_listing(self) -> list[tuple[str, str, str]]:
        """Return the settings of [notify]; an address and a command may contain a key, so both are shortened."""
        if self.notify is None:
            return []
        shown = {
            "url": _mask_path(self.notify.url),
            "command": " ".join(
                [*self.notify.command[:1], *(["***"] if len(self.notify.command) > 1 else [])]
            ),
            "events": _format(self.notify.events),
            "secret_file": self.notify.secret_file,
        }
        source = self.sources[NOTIFY]
        listing = [(f"{NOTIFY}.{name}", value, source) for name, value in shown.items() if value]
        if not self.notify.secret_file and os.environ.get(SECRET_VARIABLE):
            listing.append((f"{NOTIFY}.secret", "***", f"environment {SECRET_VARIABLE}"))
        return listing


def load(overrides: Mapping[str, Any] | None = None, folder: Path | None = None) -> Settings:
    """Return all settings; `overrides` are the options of the command line, in which None means not given.

    Raises ConfigurationError if a file or a value is invalid, and UsageError if an option contains a password.
    """
    options = {name: value for name, value in (overrides or {}).items() if value is not None}
    if "tracking_uri" in options and _has_password(options["tracking_uri"]):
        raise UsageError(
            "--tracking-uri contains a password, which every user of this machine can see in the process list",
            "set MLFLOW_TRACKING_URI instead, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    paths = [
        (folder or Path()) / PROJECT_FILE,
        Path(platformdirs.user_config_dir("mlctl")) / "config.toml",
    ]
    files = [(str(path), _read(path)) for path in paths if path.is_file()]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in SETTINGS:
        values[name], sources[name] = _resolve(name, options, files)
    uri = check_tracking_uri(values["tracking_uri"], sources["tracking_uri"])
    values["tracking_uri"] = with_installed_driver(uri)
    for name in ("data_dir", "cache_dir", "state_dir"):
        values[name] = Path(values[name]).expanduser() if values[name] else None
    values["stages"] = tuple(values["stages"])
    for table in TABLES:
        values[table] = _merge_tables(table, files, sources)
    for path, content in files:
        if NOTIFY in content:
            values[NOTIFY] = _notify_target(path, content[NOTIFY], log=values["state_dir"] / LOG)
            sources[NOTIFY] = path
            break
    for path, content in files:
        if "deleted" in content.get(RETENTION, {}):
            values[RETENTION] = _check_retention(path, content[RETENTION]["deleted"])
            sources[RETENTION] = path
            break
    return Settings(**values, sources=sources)


def mask_passwords(uri: str) -> str:
    """Return a URI with *** in place of its passwords."""
    if not _has_password(uri):
        return uri
    parts = urlsplit(uri)
    user, at, host = parts.netloc.rpartition("@")
    user = f"{user.partition(':')[0]}:***" if parts.password else user
    query = "&".join(f"{_key(pair)}=***" if _is_secret(pair) else pair for pair in parts.query.split("&"))
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}", query=query))


def _resolve(name: str, options: Mapping[str, Any], files: Sequence[TomlFile]) -> tuple[Any, str]:
    """Return the value of a setting and its source."""
    spec = SETTINGS[name]
    if name in options:
        return options[name], "option --" + name.replace("_", "-")
    if spec.environment and os.environ.get(spec.environment):
        text = os.environ[spec.environment]
        value = text.strip().lower() in {"1", "true"} if spec.kind is bool else text
        return value, f"environment {spec.environment}"
    for path, content in files:
        if name in content:
            return content[name], path
    return spec.default, "default"


def _notify_target(path: str, table: Mapping[str, Any], *, log: Path) -> NotifyTarget:
    """Return the target in the table [notify] of a file. Raises ConfigurationError."""
    target = NotifyTarget(
        url=table.get("url", ""),
        command=tuple(table.get("command", ())),
        events=tuple(table.get("events", EVENTS)),
        secret_file=table.get("secret_file", ""),
        log=str(log.absolute()),
    )
    if not target.url and not target.command:
        raise ConfigurationError(
            f"{path}: {NOTIFY} names nobody", 'add url = "https://…" or command = ["PROGRAM", …]'
        )
    parts = urlsplit(target.url)
    if target.url and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.password):
        raise ConfigurationError(
            f"{path}: {NOTIFY}.url must be an http or https address without a password",
            'example: url = "https://hooks.example.com/mlctl"',
        )
    for event in target.events:
        if event not in EVENTS:
            hint = did_you_mean(event, EVENTS) or f"valid names: {', '.join(EVENTS)}"
            raise ConfigurationError(f"{path}: {NOTIFY}.events: unknown event {event!r}", hint)
    return target


def _check_retention(path: str, duration: str) -> str:
    try:
        parse_duration(duration)
    except UsageError as exc:
        raise ConfigurationError(
            f"{path}: {RETENTION}.deleted: {exc.message}", 'example: deleted = "30d"'
        ) from exc
    return duration


def _mask_path(url: str) -> str:
    """Return an address without its path, in which many services have a key."""
    if not url:
        return ""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" + ("/***" if parts.path.strip("/") or parts.query else "")


def _merge_tables(
    table: str, files: Sequence[TomlFile], sources: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """Return the tables [TABLE.NAME] of all files; each value comes from the first file that has it."""
    merged: dict[str, dict[str, Any]] = {}
    for path, content in files:
        for name, entries in content.get(table, {}).items():
            flat = _flatten(entries)
            merged[name] = {**flat, **merged.get(name, {})}
            for key in (f"{table}.{name}", *(f"{table}.{name}.{key}" for key in flat)):
                sources.setdefault(key, path)
    return merged


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested tables by dotted name: `column.zip = "category"` is a nested table in TOML."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _format(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise ConfigurationError(f"cannot read {path}: {exc}", "fix or delete the file") from exc
    plain = {name: value for name, value in content.items() if name not in {*TABLES, *PLAIN_TABLES}}
    _check_values(path, plain, SETTINGS, known=[*SETTINGS, *TABLES, *PLAIN_TABLES])
    for table, plain_specs in PLAIN_TABLES.items():
        if table in content:
            if not isinstance(content[table], dict):
                raise ConfigurationError(f"{path}: {table} must be a table", f"write [{table}]")
            _check_values(path, content[table], plain_specs, prefix=f"{table}.", known=list(plain_specs))
    for table, specs in TABLES.items():
        entries = content.get(table, {})
        if not isinstance(entries, dict) or not all(isinstance(values, dict) for values in entries.values()):
            raise ConfigurationError(f"{path}: {table} must contain tables", f"write [{table}.NAME]")
        for name, values in entries.items() if specs is not None else ():
            _check_values(path, values, specs or {}, prefix=f"{table}.{name}.", known=list(specs or {}))
    return content


def _check_values(
    path: Path,
    values: Mapping[str, Any],
    specs: Mapping[str, SettingSpec],
    *,
    known: Sequence[str],
    prefix: str = "",
) -> None:
    """Raise ConfigurationError for an unknown setting or a value of the wrong type."""
    for name, value in values.items():
        if name not in specs:
            hint = did_you_mean(name, known) or f"valid names: {', '.join(known)}"
            raise ConfigurationError(f"{path}: unknown setting {prefix + name!r}", hint)
        kind = specs[name].kind
        is_valid = isinstance(value, kind)
        if isinstance(value, list):
            is_valid = is_valid and all(isinstance(item, str) for item in value)
        if not is_valid:
            raise ConfigurationError(
                f"{path}: {prefix}{name} must be {TYPE_NAMES[kind]}, found {value!r}", "correct the file"
            )


def _has_password(uri: str) -> bool:
    try:
        parts = urlsplit(str(uri))
        return bool(parts.password) or any(_is_secret(pair) for pair in parts.query.split("&"))
    except ValueError:
        return False


def _key(query_pair: str) -> str:
    return unquote(query_pair.partition("=")[0])


def _is_secret(query_pair: str) -> bool:
    return _key(query_pair).lower() in SECRET_QUERY_KEYS


SQLITE_PREFIX = "sqlite:///"


def absolute_sqlite(uri: str) -> str:
    """Return the URI of a SQLite file with its absolute path: a script may change its working directory."""
    path = uri.removeprefix(SQLITE_PREFIX)
    if path == uri or not path or path.startswith((":", "/")) or "?" in path:
        return uri
    return f"{SQLITE_PREFIX}{Path(path).resolve()}"


def with_installed_driver(uri: str) -> str:
    """Return a database's URI with the driver that is installed, if that is not SQLAlchemy's own choice.

    That choice is psycopg for PostgreSQL and MySQLdb for MySQL; MLflow itself does not know the scheme mariadb.
    """
    if uri.startswith(("mysql://", "mariadb://")) and (uri[1] == "a" or not find_spec("MySQLdb")):
        return f"{mysql.SCHEME}{uri[uri.index('://') :]}"
    if not uri.startswith("postgresql://") or find_spec("psycopg") or not find_spec("psycopg2"):
        return uri
    return uri.replace("postgresql://", "postgresql+psycopg2://", 1)


def check_tracking_uri(uri: str, source: str) -> str:
    """Return a valid tracking URI.

    Raises ConfigurationError for what MLflow would silently use as a folder, such as a host without a scheme.
    """
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if scheme.partition("+")[0] in DATABASE_SCHEMES | SERVER_SCHEMES or uri == "databricks":
        return uri
    subject = f"the tracking URI {mask_passwords(uri)!r} ({source})"
    if scheme == "postgres":
        raise ConfigurationError(f"{subject} has an unknown scheme", "write postgresql://…")
    if not scheme and re.fullmatch(r"(localhost|[\w-]+(\.[\w-]+)+)(:\d+)?(/.*)?", uri):
        raise ConfigurationError(f"{subject} has no scheme", f"did you mean http://{uri}?")
    raise ConfigurationError(
        f"{subject} is a folder, and MLflow no longer develops its file store",
        "use a database: sqlite:///mlflow.db, postgresql://…, or a server: http://…",
    )
