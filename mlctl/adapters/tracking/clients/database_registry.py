"""Change registered models and versions in MLflow's tables."""

from __future__ import annotations

from typing import Any

from mlctl.adapters.tracking.clients.connection import now_ms
from mlctl.adapters.tracking.clients.entities import PROMPT_TAG, no_model, no_version
from mlctl.adapters.tracking.clients.names import (
    check_model_name,
    is_plain_alias,
    is_plain_tag,
    version_number,
)
from mlctl.adapters.tracking.clients.registry_rows import DELETED_STAGE, WORKSPACE, RegistryRows

STAGES = {stage.lower(): stage for stage in ("None", "Staging", "Production", "Archived")}
MAX_MODEL_TAG_LENGTH, MAX_VERSION_TAG_LENGTH = 5000, 100_000


class RegistryTables(RegistryRows):
    """Reads and changes the tables of the registry."""

    def set_registered_model_tag(self, name: str, key: str, value: Any) -> None:
        """Set a tag of a model; raises StoreError if there is no such model."""
        text = str(value)
        if not is_plain_tag(key, text, MAX_MODEL_TAG_LENGTH):
            self.full.set_registered_model_tag(name, key, text)
            return
        with self.database.write():
            self._require_model(name)
            self.database.upsert(
                "registered_model_tags", {"workspace": WORKSPACE, "key": key, "name": name}, {"value": text}
            )

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Delete a tag of a model, if it has it; raises StoreError if there is no such model."""
        if not is_plain_tag(key):
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
        if not is_plain_tag(key, text, MAX_VERSION_TAG_LENGTH):
            self.full.set_model_version_tag(name, version, key, text)
            return
        with self.database.write():
            self._require_version(name, version)
            row = {"workspace": WORKSPACE, "key": key, "name": name, "version": int(version)}
            self.database.upsert("model_version_tags", row, {"value": text})

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
        if not is_plain_alias(alias):
            self.full.set_registered_model_alias(name, alias, version)
            return
        with self.database.write():
            self._require_version(name, version)
            row = {"workspace": WORKSPACE, "name": name, "alias": alias}
            self.database.upsert("registered_model_aliases", row, {"version": int(version)})

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias, if the model has it; raises StoreError if there is no such model."""
        if not is_plain_alias(alias):
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

    def _require_model(self, name: str) -> None:
        """Raise StoreError if there is no model of this name; a prompt is none."""
        check_model_name(name)
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
        if not self.database.read(query, [WORKSPACE, name, version_number(version), DELETED_STAGE]):
            raise no_version(name, version)

    def _touch_model(self, name: str, now: int) -> None:
        self.database.execute(
            "UPDATE registered_models SET last_updated_time = ? WHERE workspace = ? AND name = ?",
            [now, WORKSPACE, name],
        )
