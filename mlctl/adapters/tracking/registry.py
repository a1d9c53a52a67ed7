"""The model registry of a tracking store. It knows nothing of promotions or gates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlctl.adapters.tracking.convert import to_datetime
from mlctl.adapters.tracking.errors import error_code
from mlctl.adapters.tracking.store import TrackingStore, paged
from mlctl.domain.registry import RegisteredVersion
from mlctl.errors import ConfigurationError, NotFoundError, UnreachableError, did_you_mean

PAGE_SIZE = 1000
ATTEMPTS, FIRST_PAUSE_S = 6, 0.05  # if two processes write one row, the database refuses one of them


@dataclass(frozen=True, kw_only=True)
class StoredModel:
    """A registered model as the store has it; `aliases` maps an alias to a version."""

    name: str
    tags: Mapping[str, str]
    aliases: Mapping[str, str]
    description: str
    updated: datetime | None


class Registry:
    """Reads and writes the registered models of one store."""

    def __init__(self, store: TrackingStore) -> None:
        self.store = store

    @property
    def client(self) -> Any:
        """The store's client; raises as the store does."""
        return self.store.client

    def find_model(self, name: str) -> StoredModel | None:
        """Return the registered model of this name, or None."""
        if not self.store.exists:
            return None
        with self.store.translate_errors():
            try:
                found = self.client.get_registered_model(name)
            except Exception as exc:
                if error_code(exc) in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    return None
                raise
        return _to_stored_model(found)

    def get_model(self, name: str) -> StoredModel:
        """Return the registered model of this name; raises NotFoundError that suggests the nearest name."""
        model = self.find_model(name)
        if model is None:
            names = [model.name for model in self.list_models()]
            hint = did_you_mean(name, names) or (
                f"registered models: {', '.join(names[:10])}"
                if names
                else "register the first: mlctl register RUN NAME"
            )
            raise NotFoundError(f"there is no registered model {name!r}", hint)
        return model

    def list_models(self) -> tuple[StoredModel, ...]:
        """Return every registered model."""
        if not self.store.exists:
            return ()
        with self.store.translate_errors():
            pages = paged(self.client.search_registered_models, max_results=PAGE_SIZE)
            return tuple(_to_stored_model(found) for found in pages)

    def list_versions(
        self, name: str | None = None, aliases: Mapping[str, str] | None = None
    ) -> tuple[RegisteredVersion, ...]:
        """Return the versions of one model, or of all models if `name` is None, newest first.

        A search of the store returns versions without their aliases; `aliases` (those of the model) adds them.
        """
        if not self.store.exists:
            return ()
        filter_string = None if name is None else f"name = {_quoted(name)}"
        with self.store.translate_errors():
            pages = paged(
                self.client.search_model_versions, filter_string=filter_string, max_results=PAGE_SIZE
            )
            versions = [with_aliases(_to_registered_version(found), aliases or {}) for found in pages]
        return tuple(sorted(versions, key=lambda version: (version.name, -int(version.version))))

    def get_version(self, name: str, version: str) -> RegisteredVersion:
        """Return one version; raises NotFoundError that lists the versions."""
        model = self.get_model(name)
        versions = self.list_versions(name, model.aliases)
        for candidate in versions:
            if candidate.version == version:
                return candidate
        numbers = ", ".join(candidate.version for candidate in versions) or "none"
        raise NotFoundError(f"{name} has no version {version}", f"versions: {numbers}")

    def create_model(self, name: str) -> bool:
        """Create a registered model; return False if it exists already."""
        with self.store.without_retries():
            try:
                self.client.create_registered_model(name)
            except Exception as exc:
                if error_code(exc) == "RESOURCE_ALREADY_EXISTS":
                    return False
                raise
        return True

    def create_version(
        self,
        name: str,
        *,
        source: str,
        run_id: str | None,
        model_id: str | None,
        tags: Mapping[str, str],
        description: str | None,
    ) -> str:
        """Register a source as the next version; return its number."""
        with self._translate_write_errors():
            created = self.client.create_model_version(
                name, source, run_id, dict(tags), description=description, model_id=model_id
            )
        return str(created.version)

    def set_model_tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a registered model."""
        self._write(lambda: self.client.set_registered_model_tag(name, key, value))

    def delete_model_tag(self, name: str, key: str) -> None:
        """Delete a tag of a registered model, if it has it."""
        self._write(lambda: self.client.delete_registered_model_tag(name, key))

    def set_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._write(lambda: self.client.set_model_version_tag(name, version, key, value))

    def set_description(self, name: str, version: str | None, text: str) -> None:
        """Set the description of a version, or of the model if `version` is None."""
        if version is None:
            self._write(lambda: self.client.update_registered_model(name, text))
        else:
            self._write(lambda: self.client.update_model_version(name, version, text))

    def set_alias(self, name: str, alias: str, version: str | None) -> None:
        """Point an alias to a version, or delete it if `version` is None."""
        if version is None:
            self._write(lambda: self.client.delete_registered_model_alias(name, alias))
        else:
            self._write(lambda: self.client.set_registered_model_alias(name, alias, version))

    def transition_stage(self, name: str, version: str, stage: str, *, archive_others: bool = False) -> None:
        """Move a version to a classic stage; `archive_others` archives the stage's other versions in the same write."""
        self._write(lambda: self.client.transition_model_version_stage(name, version, stage, archive_others))

    def delete(self, name: str, version: str | None) -> None:
        """Delete a version, or the whole model if `version` is None."""
        with self._translate_write_errors():
            if version is None:
                self.client.delete_registered_model(name)
            else:
                self.client.delete_model_version(name, version)

    def _write(self, write: Callable[[], Any]) -> None:
        """Do a write that may happen twice; repeat it if another writer was in its way.

        Raises NotFoundError if the model or version is gone.
        """
        for attempt in range(ATTEMPTS):
            try:
                with self._translate_write_errors():
                    write()
            except UnreachableError:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(FIRST_PAUSE_S * 2**attempt)
            else:
                return

    @contextmanager
    def _translate_write_errors(self) -> Iterator[None]:
        """Translate errors, and name the permission that is missing."""
        with self.store.without_retries():
            try:
                yield
            except Exception as exc:
                if error_code(exc) == "PERMISSION_DENIED":
                    raise ConfigurationError(
                        "this user may not change the registered model",
                        "ask its owner for the permission to edit it, or log in as another user: mlctl login",
                    ) from exc
                raise


def with_aliases(version: RegisteredVersion, aliases: Mapping[str, str]) -> RegisteredVersion:
    """Return a version with those of the model's aliases that point to it."""
    own = {alias for alias, number in aliases.items() if number == version.version}
    return replace(version, alias=tuple(sorted(own | set(version.alias))))


def _quoted(name: str) -> str:
    return f'"{name}"' if "'" in name else f"'{name}'"


def _to_stored_model(found: Any) -> StoredModel:
    return StoredModel(
        name=found.name,
        tags=found.tags or {},
        aliases={alias: str(version) for alias, version in (found.aliases or {}).items()},
        description=found.description or "",
        updated=to_datetime(found.last_updated_timestamp),
    )


def _to_registered_version(found: Any) -> RegisteredVersion:
    return RegisteredVersion(
        name=found.name,
        version=str(found.version),
        stage=found.current_stage or "None",
        alias=tuple(sorted(found.aliases or ())),
        run_id=found.run_id or None,
        source=found.source,
        created=to_datetime(found.creation_timestamp),
        description=found.description or "",
        tags=found.tags or {},
    )
