"""The model registry of a tracking store, through MlflowClient; it knows nothing of promotions or gates."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import mlflow
import sqlalchemy
from mlflow.exceptions import MlflowException

from mlctl.adapters.tracking.store import TrackingStore, moment
from mlctl.domain.registry import RegisteredVersion
from mlctl.errors import ConfigurationError, NotFoundError, UnreachableError, did_you_mean

PAGE = 1000
TRIES, PAUSE_S = 6, 0.05  # two writers of one row: the database refuses one of them, and it may try again


@dataclass(frozen=True)
class StoredModel:
    """A registered model as the store has it: tags, and which version each alias points to."""

    name: str
    tags: Mapping[str, str]
    aliases: Mapping[str, str]
    description: str
    updated: datetime | None


class Registry:
    """Reads and writes the registered models of one store."""

    def __init__(self, store: TrackingStore) -> None:
        self.store = store
        # two who delete one alias: MLflow's own rows tell of it on stderr
        warnings.filterwarnings("ignore", category=sqlalchemy.exc.SAWarning)

    @property
    def client(self) -> mlflow.MlflowClient:
        """MLflow's client; raises as the store's own does."""
        return self.store.client

    def find(self, name: str) -> StoredModel | None:
        """Return the registered model of this name, or None."""
        if not self.store.exists:
            return None
        with self.store.asking():
            try:
                found = self.client.get_registered_model(name)
            except MlflowException as exc:
                if exc.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    return None
                raise
        return _stored(found)

    def model(self, name: str) -> StoredModel:
        """Return the registered model of this name; raises NotFoundError with the nearest name."""
        found = self.find(name)
        if found is None:
            names = [one.name for one in self.models()]
            hint = did_you_mean(name, names) or (
                f"there are: {', '.join(names[:10])}" if names else "mlctl register RUN NAME makes the first"
            )
            raise NotFoundError(f"there is no registered model {name!r}", hint)
        return found

    def models(self) -> tuple[StoredModel, ...]:
        """Return every registered model."""
        if not self.store.exists:
            return ()
        with self.store.asking():
            return tuple(_stored(one) for one in _paged(self.client.search_registered_models))

    def versions(
        self, name: str | None = None, aliases: Mapping[str, str] | None = None
    ) -> tuple[RegisteredVersion, ...]:
        """Return the versions of one model, or of all, newest first; `aliases` are the model's."""
        if not self.store.exists:
            return ()
        said = None if name is None else f"name = {_quoted(name)}"
        with self.store.asking():
            found = [_version(one) for one in _paged(self.client.search_model_versions, said)]
        pointed = (self.pointed(one, aliases or {}) for one in found)
        return tuple(sorted(pointed, key=lambda one: (one.name, -int(one.version))))

    @staticmethod
    def pointed(version: RegisteredVersion, aliases: Mapping[str, str]) -> RegisteredVersion:
        """Return a version with the aliases that point to it: a search of the store leaves them out."""
        pointing = {alias for alias, number in aliases.items() if number == version.version}
        return replace(version, alias=tuple(sorted(pointing | set(version.alias))))

    def version(self, name: str, version: str) -> RegisteredVersion:
        """Return one version; raises NotFoundError that says which there are."""
        model = self.model(name)
        known = self.versions(name, model.aliases)
        for one in known:
            if one.version == version:
                return one
        there = ", ".join(one.version for one in known) or "none"
        raise NotFoundError(f"{name} has no version {version}", f"there are: {there}")

    def create(self, name: str) -> bool:
        """Make a registered model; return False where it is there already."""
        with self.store.making():
            try:
                self.client.create_registered_model(name)
            except MlflowException as exc:
                if exc.error_code == "RESOURCE_ALREADY_EXISTS":
                    return False
                raise
        return True

    def create_version(
        self, name: str, source: str, run_id: str | None, model_id: str | None,
        tags: Mapping[str, str], description: str | None,
    ) -> str:  # fmt: skip
        """Register a source as the next version, and return its number."""
        with self._writing():
            made = self.client.create_model_version(
                name, source, run_id, dict(tags), description=description, model_id=model_id
            )
        return str(made.version)

    def tag(self, name: str, key: str, value: str) -> None:
        """Set a tag of a registered model."""
        self._insist(lambda: self.client.set_registered_model_tag(name, key, value))

    def tag_version(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        self._insist(lambda: self.client.set_model_version_tag(name, version, key, value))

    def describe(self, name: str, version: str | None, text: str) -> None:
        """Set the description of a model, or of one version."""
        if version is None:
            self._insist(lambda: self.client.update_registered_model(name, text))
        else:
            self._insist(lambda: self.client.update_model_version(name, version, text))

    def point(self, name: str, alias: str, version: str | None) -> None:
        """Have an alias point to a version, or to none; it may point there already."""
        if version is None:
            self._insist(lambda: self.client.delete_registered_model_alias(name, alias))
        else:
            self._insist(lambda: self.client.set_registered_model_alias(name, alias, version))

    def move(self, name: str, version: str, stage: str, alone: bool = False) -> None:
        """Put a version into a classic stage; `alone` archives, in the same write, what else is in it."""
        self._insist(lambda: self.client.transition_model_version_stage(name, version, stage, alone))

    def delete(self, name: str, version: str | None) -> None:
        """Delete one version, or the whole model."""
        with self._writing():
            if version is None:
                self.client.delete_registered_model(name)
            else:
                self.client.delete_model_version(name, version)

    def _insist(self, write: Callable[[], Any]) -> None:
        """Do a write that may be done twice, again where another writer was in its way.

        Raises NotFoundError where what it is about is gone.
        """
        for attempt in range(TRIES):
            try:
                with self._writing():
                    write()
            except UnreachableError:
                if attempt == TRIES - 1:
                    raise
                time.sleep(PAUSE_S * 2**attempt)
            else:
                return

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say which permission is missing, where one is."""
        with self.store.making():
            try:
                yield
            except MlflowException as exc:
                if exc.error_code == "PERMISSION_DENIED":
                    raise ConfigurationError(
                        "this user may not change the registered model",
                        "ask its owner for the permission to edit it, or log in as another (mlctl login)",
                    ) from exc
                raise


def _paged(search: Callable[..., Any], said: str | None = None) -> Iterator[Any]:
    token = None
    while True:
        page = search(filter_string=said, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _quoted(name: str) -> str:
    return f'"{name}"' if "'" in name else f"'{name}'"


def _stored(found: Any) -> StoredModel:
    aliases = {alias: str(version) for alias, version in (found.aliases or {}).items()}
    return StoredModel(
        found.name, found.tags or {}, aliases, found.description or "", moment(found.last_updated_timestamp)
    )


def _version(found: Any) -> RegisteredVersion:
    return RegisteredVersion(
        name=found.name,
        version=str(found.version),
        stage=found.current_stage or "None",
        alias=tuple(sorted(found.aliases or ())),
        run_id=found.run_id or None,
        source=found.source,
        created=moment(found.creation_timestamp),
        description=found.description or "",
        tags=found.tags or {},
    )
