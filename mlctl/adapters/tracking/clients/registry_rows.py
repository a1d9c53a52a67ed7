"""Read registered models and versions from MLflow's tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlctl.adapters.tracking.clients.connection import Database
from mlctl.adapters.tracking.clients.entities import (
    PROMPT_TAG,
    Page,
    RegisteredModelEntity,
    VersionEntity,
    no_model,
    no_version,
)
from mlctl.adapters.tracking.clients.light_client import LightClient
from mlctl.adapters.tracking.clients.names import check_model_name, version_number

WORKSPACE = "default"
DELETED_STAGE = "Deleted_Internal"
VERSION_FILTER = re.compile(
    r"""(?P<column>name|run_id|source_path)\s*=\s*(?P<quote>['"])(?P<value>[^'"\\]*)(?P=quote)"""
)
NO_PROMPT = (
    "NOT EXISTS (SELECT 1 FROM {table} p WHERE p.workspace = m.workspace AND p.name = m.name"
    " AND p.key = 'mlflow.prompt.is_prompt' AND p.value = 'true')"
)


class RegistryRows(LightClient):
    """Reads the tables of the registry."""

    def __init__(self, tracking_uri: str, make_mlflow_client: Callable[[], Any], database: Database) -> None:
        super().__init__(tracking_uri, make_mlflow_client)
        self.database = database

    def get_registered_model(self, name: str) -> RegisteredModelEntity:
        """Return a registered model; raises StoreError."""
        check_model_name(name)
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
        check_model_name(name)
        condition = "m.name = ? AND m.version = ?"
        for found in self._versions(condition, name, version_number(version), with_aliases=True):
            if PROMPT_TAG not in found.tags:
                return found
        raise no_version(name, version)

    def _models(self, condition: str, *values: Any) -> list[RegisteredModelEntity]:
        rows = self.database.read(
            "SELECT m.name, m.description, m.last_updated_time FROM registered_models m"  # noqa: S608
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
                last_updated_timestamp=updated,
                tags=dict(tags.get(name, ())),
                aliases={alias: str(version) for alias, version in aliases.get(name, ())},
            )
            for name, description, updated in rows
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
        return self.database.read_grouped(f"{query} WHERE workspace = ? AND name IN", names, [WORKSPACE])
