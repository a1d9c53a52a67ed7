"""What mlctl is told once and uses everywhere, each value with the place that it came from.

Precedence: option > environment > ./mlctl.toml > the user's config.toml > default.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import platformdirs

from mlctl.errors import ConfigurationError, UsageError, did_you_mean

PROJECT_FILE = "mlctl.toml"
SECRET_IN_QUERY = frozenset({"password", "sslpassword"})  # what a database's URI may hold after its ?


@dataclass(frozen=True)
class Declared:
    """One setting: its environment variable, its default, and the type a TOML file must give it.

    A list is one of texts; a setting of that kind has no environment variable.
    """

    help: str
    kind: type = str
    environment: str | None = None
    default: Any = None


DECLARED: Mapping[str, Declared] = {
    "tracking_uri": Declared(
        "where runs and models are kept", environment="MLFLOW_TRACKING_URI", default="sqlite:///mlflow.db"
    ),
    "experiment": Declared("the experiment that runs go into", environment="MLFLOW_EXPERIMENT_NAME"),
    "data_dir": Declared("a folder that is searched for data first", environment="MLCTL_DATA_DIR"),
    "cache_dir": Declared(
        "where downloads and prepared data are kept",
        environment="MLCTL_CACHE_DIR",
        default=platformdirs.user_cache_dir("mlctl"),
    ),
    "state_dir": Declared(
        "where this machine's servers, endpoints and unfinished runs are noted",
        environment="MLCTL_STATE_DIR",
        default=platformdirs.user_state_dir("mlctl"),
    ),
    "bucket": Declared("the S3 bucket where server-up keeps artifacts, where it is given none"),
    "stages": Declared("stages of your own, beside Staging and Production", kind=list, default=()),
}

# tables of the form [models.NAME], and what each NAME may set; None: whoever reads it checks the names
TABLES: Mapping[str, Mapping[str, Declared] | None] = {
    "models": {
        "require": Declared("what a metric must reach, as --require has it", kind=list),
        "no_regress": Declared("metrics that must not become worse, as --no-regress has them", kind=list),
        "evaluate": Declared("the recipe or data to score candidate and holder on"),
        "from": Declared("the stage that a candidate must hold"),
        "smoke": Declared("whether a candidate must load and answer its input example", kind=bool),
    },
    "recipes": None,
}


@dataclass(frozen=True)
class Settings:
    """All settings, resolved. `sources` says of each name where its value came from."""

    tracking_uri: str
    experiment: str | None
    data_dir: Path | None
    cache_dir: Path
    state_dir: Path
    bucket: str | None = None
    stages: tuple[str, ...] = ()
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def listing(self) -> list[tuple[str, str, str]]:
        """Return (name, value, source) of every setting, those of tables too, with secrets masked."""
        plain = [(name, getattr(self, name)) for name in DECLARED]
        named = [
            (f"{kind}.{name}.{key}", value)
            for kind in TABLES
            for name, values in getattr(self, kind).items()
            for key, value in values.items()
        ]
        return [(name, masked(_shown(value)), self.sources[name]) for name, value in [*plain, *named]]


def load(options: Mapping[str, Any] | None = None, folder: Path | None = None) -> Settings:
    """Resolve every setting; `options` are what the command line gave (None: not given).

    Raises ConfigurationError where a file or a value cannot be, UsageError where an option holds a password.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    if "tracking_uri" in given and _holds_password(given["tracking_uri"]):
        raise UsageError(
            "--tracking-uri holds a password, which every user here could read in the process list",
            "give it in MLFLOW_TRACKING_URI, or as MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    files = [
        (folder or Path()) / PROJECT_FILE,
        Path(platformdirs.user_config_dir("mlctl")) / "config.toml",
    ]
    tables = [(str(path), _read(path)) for path in files if path.is_file()]
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, declared in DECLARED.items():
        values[name], sources[name] = _first(name, declared, given, tables)
    values["tracking_uri"] = _usable_tracking_uri(values["tracking_uri"], sources["tracking_uri"])
    for name in ("data_dir", "cache_dir", "state_dir"):
        values[name] = Path(values[name]).expanduser() if values[name] else None
    values["stages"] = tuple(values["stages"])
    for kind in TABLES:
        values[kind] = _by_name(kind, tables, sources)
    return Settings(**values, sources=sources)


def masked(value: str) -> str:
    """Return the value with the passwords of a URL in it replaced by ***."""
    if not _holds_password(value):
        return value
    parts = urlsplit(value)
    user, at, place = parts.netloc.rpartition("@")
    user = f"{user.partition(':')[0]}:***" if parts.password else user
    query = "&".join(f"{_name(one)}=***" if _is_secret(one) else one for one in parts.query.split("&"))
    return urlunsplit(parts._replace(netloc=f"{user}{at}{place}", query=query))


def _first(
    name: str, declared: Declared, given: Mapping[str, Any], tables: list[tuple[str, dict[str, Any]]]
) -> tuple[Any, str]:
    if name in given:
        return given[name], "option --" + name.replace("_", "-")
    if declared.environment and os.environ.get(declared.environment):
        return os.environ[declared.environment], f"environment {declared.environment}"
    for path, table in tables:
        if name in table:
            return table[name], path
    return declared.default, "default"


def _by_name(
    kind: str, files: list[tuple[str, dict[str, Any]]], sources: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """Return the tables [KIND.NAME] of all files, each value from the first file that has it."""
    found: dict[str, dict[str, Any]] = {}
    for path, table in files:
        for name, values in table.get(kind, {}).items():
            flat = _flat(values)
            found[name] = {**flat, **found.get(name, {})}
            for key in (f"{kind}.{name}", *(f"{kind}.{name}.{key}" for key in flat)):
                sources.setdefault(key, path)
    return found


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a table's values by dotted name: TOML makes a table `column` of `column.zip = "category"`."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return (
        ", ".join(map(str, value)) if isinstance(value, list | tuple) else str("" if value is None else value)
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc}", "mend it, or take it away") from exc
    _check(path, "", {name: value for name, value in table.items() if name not in TABLES}, DECLARED)
    for kind, declared in TABLES.items():
        named = table.get(kind, {})
        if not isinstance(named, dict) or not all(isinstance(values, dict) for values in named.values()):
            raise ConfigurationError(f"{path}: {kind} must be tables", f"write [{kind}.NAME]")
        for name, values in named.items() if declared is not None else ():
            _check(path, f"{kind}.{name}.", values, declared or {})
    return table


def _check(path: Path, prefix: str, table: Mapping[str, Any], known: Mapping[str, Declared]) -> None:
    """Refuse a name that is not known, and a value of another type."""
    for name, value in table.items():
        if name not in known:
            names = [*known, *(TABLES if not prefix else ())]
            near = did_you_mean(name, names)
            raise ConfigurationError(
                f"{path}: unknown setting {prefix + name!r}", near or f"known are: {', '.join(names)}"
            )
        kind = known[name].kind
        texts = kind is not list or (isinstance(value, list) and all(isinstance(one, str) for one in value))
        if not isinstance(value, kind) or not texts:
            wanted = {"list": "a list of texts", "str": "a text", "bool": "true or false"}.get(
                kind.__name__, f"a {kind.__name__}"
            )
            raise ConfigurationError(
                f"{path}: {prefix}{name} must be {wanted}, found {value!r}", "mend the file"
            )


def _holds_password(value: str) -> bool:
    try:
        parts = urlsplit(str(value))
        return bool(parts.password) or any(_is_secret(one) for one in parts.query.split("&"))
    except ValueError:
        return False


def _name(of_query: str) -> str:
    return unquote(of_query.partition("=")[0])


def _is_secret(of_query: str) -> bool:
    return _name(of_query).lower() in SECRET_IN_QUERY


def _usable_tracking_uri(uri: str, source: str) -> str:
    """Refuse what MLflow would silently take for a folder: a host without its scheme, a file store."""
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    said = f"the tracking URI {masked(uri)!r} ({source})"
    if scheme.partition("+")[0] in {
        "sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks",
    } or uri == "databricks":  # fmt: skip
        return uri
    if scheme == "postgres":
        raise ConfigurationError(f"{said} has no known scheme", "write postgresql://…")
    if not scheme and re.fullmatch(r"(localhost|[\w-]+(\.[\w-]+)+)(:\d+)?(/.*)?", uri):
        raise ConfigurationError(f"{said} has no scheme", f"did you mean http://{uri}?")
    raise ConfigurationError(
        f"{said} is a folder, and MLflow's file store takes no new features",
        "use a database: sqlite:///mlflow.db, postgresql://…, or a server's http://…",
    )
