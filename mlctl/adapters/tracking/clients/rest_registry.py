"""A client of a tracking server's REST API: registered models and versions."""

from __future__ import annotations

from typing import Any

from mlctl.adapters.tracking.clients.entities import (
    PROMPT_TAG,
    Page,
    RegisteredModelEntity,
    VersionEntity,
    no_model,
    no_version,
)
from mlctl.adapters.tracking.clients.rest_requests import Json, RestRequests


class RegistryRequests(RestRequests):
    """Reads and changes the registry through a server."""

    def get_registered_model(self, name: str) -> RegisteredModelEntity:
        """Return a registered model; raises StoreError."""
        found = _model(self.get("registered-models/get", {"name": name})["registered_model"])
        if PROMPT_TAG in found.tags:
            raise no_model(name)
        return found

    def search_registered_models(
        self, *, max_results: int = 1000, page_token: str | None = None, **_: Any
    ) -> Page[RegisteredModelEntity]:
        """Return a page of the registered models."""
        answer = self.get("registered-models/search", {"max_results": max_results, "page_token": page_token})
        return Page(map(_model, answer.get("registered_models", [])), answer.get("next_page_token"))

    def search_model_versions(
        self,
        filter_string: str | None = None,
        *,
        max_results: int = 10_000,
        page_token: str | None = None,
        **_: Any,
    ) -> Page[VersionEntity]:
        """Return a page of the versions that the filter selects."""
        query = {"filter": filter_string, "max_results": max_results, "page_token": page_token}
        answer = self.get("model-versions/search", query)
        return Page(map(_version, answer.get("model_versions", [])), answer.get("next_page_token"))

    def get_model_version(self, name: str, version: str) -> VersionEntity:
        """Return a version; raises StoreError."""
        found = _version(
            self.get("model-versions/get", {"name": name, "version": str(version)})["model_version"]
        )
        if PROMPT_TAG in found.tags:
            raise no_version(name, version)
        return found

    def set_registered_model_tag(self, name: str, key: str, value: Any) -> None:
        """Set a tag of a model; raises StoreError if there is no such model."""
        self.post("registered-models/set-tag", {"name": name, "key": key, "value": str(value)}, writes=True)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Delete a tag of a model, if it has it; raises StoreError if there is no such model."""
        self.call("DELETE", "registered-models/delete-tag", {"name": name, "key": key}, writes=True)

    def set_model_version_tag(self, name: str, version: str, key: str, value: Any) -> None:
        """Set a tag of a version; raises StoreError if there is no such version."""
        body = {"name": name, "version": str(version), "key": key, "value": str(value)}
        self.post("model-versions/set-tag", body, writes=True)

    def update_registered_model(self, name: str, description: str | None = None) -> None:
        """Change a model's description; raises StoreError if there is no such model."""
        body = {"name": name, "description": description}
        self.call("PATCH", "registered-models/update", body, writes=True)

    def update_model_version(self, name: str, version: str, description: str | None = None) -> None:
        """Change a version's description; raises StoreError if there is no such version."""
        if description is None:
            self.full.update_model_version(name, version, description)
            return
        body = {"name": name, "version": str(version), "description": description}
        self.call("PATCH", "model-versions/update", body, writes=True)

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        """Point an alias to a version; raises StoreError if there is no such version."""
        body = {"name": name, "alias": alias, "version": str(version)}
        self.post("registered-models/alias", body, writes=True)

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias, if the model has it; raises StoreError if there is no such model."""
        self.call("DELETE", "registered-models/alias", {"name": name, "alias": alias}, writes=True)

    def transition_model_version_stage(
        self,
        name: str,
        version: str,
        stage: str,
        archive_existing_versions: bool = False,  # MLflow's signature
    ) -> None:
        """Move a version to a stage, and archive the stage's other versions; raises StoreError."""
        body = {
            "name": name,
            "version": str(version),
            "stage": stage,
            "archive_existing_versions": archive_existing_versions,
        }
        self.post("model-versions/transition-stage", body, writes=True)

    def delete_model_version(self, name: str, version: str) -> None:
        """Delete a version; raises StoreError."""
        self.call("DELETE", "model-versions/delete", {"name": name, "version": str(version)}, writes=True)

    def delete_registered_model(self, name: str) -> None:
        """Delete a model with its versions; raises StoreError."""
        self.call("DELETE", "registered-models/delete", {"name": name}, writes=True)


def _model(found: Json) -> RegisteredModelEntity:
    return RegisteredModelEntity(
        name=found["name"],
        description=found.get("description"),
        last_updated_timestamp=found.get("last_updated_timestamp"),
        tags={tag["key"]: tag.get("value", "") for tag in found.get("tags", [])},
        aliases={alias["alias"]: str(alias["version"]) for alias in found.get("aliases", [])},
    )


def _version(found: Json) -> VersionEntity:
    return VersionEntity(
        name=found["name"],
        version=str(found["version"]),
        creation_timestamp=found.get("creation_timestamp"),
        description=found.get("description"),
        current_stage=found.get("current_stage", "None"),
        source=found.get("source", ""),
        run_id=found.get("run_id"),
        tags={tag["key"]: tag.get("value", "") for tag in found.get("tags", [])},
        aliases=found.get("aliases", []),
    )
