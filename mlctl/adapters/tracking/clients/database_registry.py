"""Registered models and versions in MLflow's tables."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlctl.adapters.tracking.clients.connection import Database, marks, now_ms
from mlctl.adapters.tracking.clients.entities import (
    PROMPT_TAG,
    Page,
    RegisteredModelEntity,
    StoreError,
    VersionEntity,
    no_model,
    no_version,
)
from mlctl.adapters.tracking.clients.light_client import LightClient

WORKSPACE = "default"
DELETED_STAGE = "Deleted_Internal"
NAMES_PER_QUERY = 500
STAGES = {stage.lower(): stage for stage in ("None", "Staging", "Production", "Archived")}
VERSION_FILTER = re.compile(
    r"""(?P<column>name|run_id|source_path)\s*=\s*(?P<quote>['"])(?P<value>[^'"\\]*)(?P=quote)"""
)
PLAIN_KEY = re.compile(r"[\w.\- /:]{1,250}")
PLAIN_ALIAS = re.compile(r"(?!v\d+$|latest$)[\w\-]{1,255}", re.IGNORECASE)
MAX_MODEL_TAG_LENGTH, MAX_VERSION_TAG_LENGTH = 5000, 100_000
NO_PROMPT = (
    "NOT EXISTS (SELECT 1 FROM {table} p WHERE p.workspace = m.workspace AND p.name = m.name"
    " AND p.key = 'mlflow.prompt.is_prompt' AND p.value = 'true')"
)


def is_plain(key: str, value: str = "", max_length: int = 0) -> bool:
    """Return whether every store takes this tag; MLflow judges any other."""
    return bool(PLAIN_KEY.fullmatch(key)) and is_unique_path(key) and len(value) <= max_length


def is_unique_path(name: str) -> bool:
    """Return whether a name is no other name if it is read as a path, which MLflow asks of all names."""
    return posixpath.normpath(name) == name and not name.startswith(("/", "..")) and name != "."


class RegistryTables(LightClient):
    """Reads and changes the tables of the registry."""

    def __init__(self, tracking_uri: str, make_mlflow_client: Callable[[], Any], database: Database) -> None:
        super().__init__(tracking_uri, make_mlflow_client)
        self.database = database

    # -- reading -------------------------------------------------------------------------------------------

    def get_registered_model(self, name: str) -> RegisteredModelEntity:
        """Return a registered model; raises StoreError."""
        _check_name(name)
        for found in self._models("m.name = ?", name):
            if PROMPT_TAG not in found.tags:
                return found
        raise no_model(name)

    def search_registered_models(self, **_: Any) -> Page[RegisteredModelEntity]:
        """Return all registered models."""
        return Page(self._models(NO_PROMPT.format(table="registered_model_tags")))

    def search_model_versions(self, filter_string: str | None = None, **options: Any) -> Page[VersionEntity]:
        """Return all versions, or those of one name, run or source, without their aliases."""
        no_prompt = NO_PROMPT.format(table="model_version_tags")
        if not filter_string:
            return Page(self._versions(no_prompt))
        parsed = VERSION_FILTER.fullmatch(filter_string.strip())
        if parsed is None:
            found: Page[VersionEntity] = self.full.search_model_versions(filter_string, **options)
            return found
        column = {"source_path": "source"}.get(parsed["column"], parsed["column"])
        return Page(self._versions(f"m.{column} = ? AND {no_prompt}", parsed["value"]))

    def get_model_version(self, name: str, version: str) -> VersionEntity:
        """Return a version; raises StoreError."""
        _check_name(name)
        condition = "m.name = ? AND m.version = ?"
        for found in self._versions(condition, name, _to_number(version), with_aliases=True):
            if PROMPT_TAG not in found.tags:
                return found
        raise no_version(name, version)

    def get_model_version_by_alias(self, name: str, alias: str) -> VersionEntity:
        """Return the version to which an alias points; raises StoreError."""
        if not PLAIN_ALIAS.fullmatch(alias):
            found: VersionEntity = self.full.get_model_version_by_alias(name, alias)
            return found
        _check_name(name)
        if not self._models("m.name = ?", name):
            raise no_model(name)
        rows = self.database.read(
            "SELECT version FROM registered_model_aliases WHERE workspace = ? AND name = ? AND alias = ?",
            [WORKSPACE, name, alias],
        )
        if not rows:
            raise StoreError(f"Registered model alias {alias} not found.", "INVALID_PARAMETER_VALUE")
        return self.get_model_version(name, rows[0][0])

    # -- writing -------------------------------------------------------------------------------------------

    def set_registered_model_tag(self, name: str, key: str, value: Any) -> None:
        """Set a tag of a model; raises StoreError if there is no such model."""
        text = str(value)
        if not is_plain(key, text, MAX_MODEL_TAG_LENGTH):
            self.full.set_registered_model_tag(name, key, text)
            return
        with self.database.write():
            self._require_model(name)
            self.database.upsert(
                "registered_model_tags", {"workspace": WORKSPACE, "key": key, "name": name}, {"value": text}
            )

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Delete a tag of a model, if it has it; raises StoreError if there is no such model."""
        if not is_plain(key):
            self.full.delete_registered_model_tag(name, key)
            return
        with self.database.write():
            self._require_model(name)
            self.database.execute(
                "DELETE FROM registered_model_tags WHERE workspace = ? AND name = ? AND key = ?",
                [WORKSPACE, name, key],
            )

    def set_model_version_tag(self, name: str, version: str, key: str, value: Any) -> None:
        """Set a tag of a version; raises StoreError if there is no such version."""
        text = str(value)
        if not is_plain(key, text, MAX_VERSION_TAG_LENGTH):
            self.full.set_model_version_tag(name, version, key, text)
            return
        with self.database.write():
            self._require_version(name, version)
            row = {"workspace": WORKSPACE, "key": key, "name": name, "version": int(version)}
            self.database.upsert("model_version_tags", row, {"value": text})

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        """Delete a tag of a version, if it has it; raises StoreError if there is no such version."""
        if not is_plain(key):
            self.full.delete_model_version_tag(name, version, key)
            return
        with self.database.write():
            self._require_version(name, version)
            self.database.execute(
                "DELETE FROM model_version_tags WHERE workspace = ? AND name = ? AND version = ? AND key = ?",
                [WORKSPACE, name, int(version), key],
            )

    def update_registered_model(self, name: str, description: str | None = None) -> None:
        """Change a model's description; raises StoreError if there is no such model."""
        with self.database.write():
            self._require_model(name)
            self.database.execute(
                "UPDATE registered_models SET description = ?, last_updated_time = ?"
                " WHERE workspace = ? AND name = ?",
                [description, now_ms(), WORKSPACE, name],
            )

    def update_model_version(self, name: str, version: str, description: str | None = None) -> None:
        """Change a version's description; raises StoreError if there is no such version."""
        if description is None:
            self.full.update_model_version(name, version, description)
            return
        with self.database.write():
            self._require_version(name, version)
            self.database.execute(
                "UPDATE model_versions SET description = ?, last_updated_time = ?"
                " WHERE workspace = ? AND name = ? AND version = ?",
                [description, now_ms(), WORKSPACE, name, int(version)],
            )

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias to a version; raises StoreError if there is no such version."""
        if not PLAIN_ALIAS.fullmatch(alias):
            self.full.set_registered_model_alias(name, alias, version)
            return
        with self.database.write():
            self._require_version(name, version)
            row = {"workspace": WORKSPACE, "name": name, "alias": alias}
            self.database.upsert("registered_model_aliases", row, {"version": int(version)})

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias, if the model has it; raises StoreError if there is no such model."""
        if not PLAIN_ALIAS.fullmatch(alias):
            self.full.delete_registered_model_alias(name, alias)
            return
        with self.database.write():
            self._require_model(name)
            self.database.execute(
                "DELETE FROM registered_model_aliases WHERE workspace = ? AND name = ? AND alias = ?",
                [WORKSPACE, name, alias],
            )

    def transition_model_version_stage(
        self,
        name: str,
        version: str,
        stage: str,
        archive_existing_versions: bool = False,  # MLflow's signature
    ) -> None:
        """Move a version to a stage, and archive the stage's other versions; raises StoreError."""
        canonical = STAGES.get(stage.lower())
        if canonical is None or (archive_existing_versions and canonical not in {"Staging", "Production"}):
            self.full.transition_model_version_stage(name, version, stage, archive_existing_versions)
            return
        now = now_ms()
        with self.database.write():
            self._require_version(name, version)
            if archive_existing_versions:
                self.database.execute(
                    "UPDATE model_versions SET current_stage = 'Archived', last_updated_time = ?"
                    " WHERE workspace = ? AND name = ? AND version <> ? AND current_stage = ?",
                    [now, WORKSPACE, name, int(version), canonical],
                )
            self.database.execute(
                "UPDATE model_versions SET current_stage = ?, last_updated_time = ?"
                " WHERE workspace = ? AND name = ? AND version = ?",
                [canonical, now, WORKSPACE, name, int(version)],
            )
            self._touch_model(name, now)

    def delete_model_version(self, name: str, version: str) -> None:
        """Delete a version: its row stays without its content, its aliases go; raises StoreError."""
        now = now_ms()
        with self.database.write():
            self._require_version(name, version)
            self._touch_model(name, now)
            self.database.execute(
                "DELETE FROM registered_model_aliases WHERE workspace = ? AND name = ? AND version = ?",
                [WORKSPACE, name, int(version)],
            )
            self.database.execute(
                "UPDATE model_versions SET current_stage = ?, last_updated_time = ?, description = NULL,"
                " user_id = NULL, source = 'REDACTED-SOURCE-PATH', run_id = 'REDACTED-RUN-ID',"
                " run_link = 'REDACTED-RUN-LINK', status_message = NULL"
                " WHERE workspace = ? AND name = ? AND version = ?",
                [DELETED_STAGE, now, WORKSPACE, name, int(version)],
            )

    # -- rows ----------------------------------------------------------------------------------------------

    def _models(self, condition: str, *values: Any) -> list[RegisteredModelEntity]:
        rows = self.database.read(
            "SELECT m.name, m.description, m.creation_time, m.last_updated_time FROM registered_models m"  # noqa: S608
            f" WHERE m.workspace = ? AND {condition} ORDER BY m.name",
            [WORKSPACE, *values],
        )
        names = [row[0] for row in rows]
        tags = self._by_name("SELECT name, key, value FROM registered_model_tags", names)
        aliases = self._by_name("SELECT name, alias, version FROM registered_model_aliases", names)
        return [
            RegisteredModelEntity(
                name=name,
                description=description,
                creation_timestamp=created,
                last_updated_timestamp=updated,
                tags=dict(tags.get(name, ())),
                aliases={alias: str(version) for alias, version in aliases.get(name, ())},
            )
            for name, description, created, updated in rows
        ]

    def _versions(self, condition: str, *values: Any, with_aliases: bool = False) -> list[VersionEntity]:
        rows = self.database.read(
            "SELECT m.name, m.version, m.creation_time, m.description, m.current_stage, m.source, m.run_id"  # noqa: S608
            f" FROM model_versions m WHERE m.workspace = ? AND m.current_stage <> ? AND {condition}"
            " ORDER BY m.last_updated_time DESC, m.name, m.version DESC",
            [WORKSPACE, DELETED_STAGE, *values],
        )
        names = sorted({row[0] for row in rows})
        tags: dict[tuple[str, int], dict[str, str]] = {}
        found = self._by_name("SELECT name, version, key, value FROM model_version_tags", names)
        for name, entries in found.items():
            for version, key, value in entries:
                tags.setdefault((name, version), {})[key] = value
        aliases = (
            self._by_name("SELECT name, alias, version FROM registered_model_aliases", names)
            if with_aliases
            else {}
        )
        return [
            VersionEntity(
                name=name,
                version=str(version),
                creation_timestamp=created,
                description=description,
                current_stage=stage or "None",
                source=source or "",
                run_id=run_id,
                tags=tags.get((name, version), {}),
                aliases=[alias for alias, number in aliases.get(name, ()) if number == version],
            )
            for name, version, created, description, stage, source, run_id in rows
        ]

    def _by_name(self, query: str, names: Sequence[str]) -> Mapping[str, list[tuple[Any, ...]]]:
        """Return the rows of a query of these models, without their first column, the name, by that."""
        found: dict[str, list[tuple[Any, ...]]] = {}
        for start in range(0, len(names), NAMES_PER_QUERY):
            some = names[start : start + NAMES_PER_QUERY]
            sql = f"{query} WHERE workspace = ? AND name IN ({marks(some)})"
            for name, *values in self.database.read(sql, [WORKSPACE, *some]):
                found.setdefault(name, []).append(tuple(values))
        return found

    def _require_model(self, name: str) -> None:
        """Raise StoreError if there is no model of this name; a prompt is none."""
        _check_name(name)
        query = (
            "SELECT 1 FROM registered_models m WHERE workspace = ? AND name = ? AND NOT EXISTS"
            " (SELECT 1 FROM registered_model_tags p WHERE p.workspace = m.workspace AND p.name = m.name AND p.key = ?)"
        )
        if not self.database.read(query, [WORKSPACE, name, PROMPT_TAG]):
            raise no_model(name)

    def _require_version(self, name: str, version: str) -> None:
        self._require_model(name)
        query = (
            "SELECT 1 FROM model_versions WHERE workspace = ? AND name = ? AND version = ?"
            " AND current_stage <> ?"
        )
        if not self.database.read(query, [WORKSPACE, name, _to_number(version), DELETED_STAGE]):
            raise no_version(name, version)

    def _touch_model(self, name: str, now: int) -> None:
        self.database.execute(
            "UPDATE registered_models SET last_updated_time = ? WHERE workspace = ? AND name = ?",
            [now, WORKSPACE, name],
        )


def _check_name(name: str) -> None:
    """Raise StoreError for a name that no model can have."""
    if not name.strip() or set("/:") & set(name) or not is_unique_path(name):
        raise StoreError(f"invalid model name {name!r}", "INVALID_PARAMETER_VALUE")


def _to_number(version: str) -> int:
    try:
        return int(version)
    except ValueError:
        raise StoreError(
            f"the version must be a number, not {version!r}", "INVALID_PARAMETER_VALUE"
        ) from None
