"""Read another tracking server through MLflow's client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlctl.adapters.importing.artifacts import fetch_folder
from mlctl.adapters.tracking.errors import error_code
from mlctl.adapters.tracking.store import TrackingStore, paged
from mlctl.domain.importing import (
    Point,
    SourceDataset,
    SourceExperiment,
    SourceModel,
    SourceRegisteredModel,
    SourceRun,
    SourceVersion,
)

MODEL_STATUSES = {"PENDING": 1, "READY": 2, "FAILED": 3}


class ServerSource:
    """A tracking server. Raises what its requests raise."""

    def __init__(self, uri: str) -> None:
        self.uri, self.notes = uri, list[str]()
        self._store = TrackingStore(uri)
        self._client = self._store.mlflow_client

    def experiments(self) -> Sequence[SourceExperiment]:
        """Return all experiments, by their id."""
        with self._store.translate_errors():
            found = paged(self._client.search_experiments, max_results=1000)
            return sorted(
                (
                    SourceExperiment(
                        key=one.experiment_id, name=one.name, created=one.creation_time, tags=one.tags
                    )
                    for one in found
                ),
                key=lambda one: int(one.key),
            )

    def run_ids(self, experiment: SourceExperiment) -> Sequence[str]:
        """Return the ids of an experiment's runs, oldest first."""
        with self._store.translate_errors():
            pages = paged(
                self._client.search_runs,
                experiment_ids=[experiment.key],
                max_results=1000,
                order_by=["attributes.start_time ASC"],
            )
            return [run.info.run_id for run in pages]

    def runs(self, experiment: SourceExperiment, run_ids: Sequence[str]) -> Iterator[SourceRun]:
        """Yield these runs."""
        for run_id in run_ids:
            with self._store.translate_errors():
                yield self._run(self._client.get_run(run_id))

    def models(self, experiment: SourceExperiment) -> Sequence[SourceModel]:
        """Return the logged models of an experiment; an old server has none."""
        with self._store.translate_errors():
            try:
                found = list(paged(self._client.search_logged_models, experiment_ids=[experiment.key]))
            except Exception as exc:
                if error_code(exc) != "ENDPOINT_NOT_FOUND":
                    raise
                return []
            return [_model(one) for one in found]

    def registered_models(self) -> Sequence[SourceRegisteredModel]:
        """Return the registered models, with their versions."""
        # the client itself asks for models whose tag says that they are no prompts, and old servers find none
        registry = self._client._get_registry_client().store
        with self._store.translate_errors():
            return [
                SourceRegisteredModel(
                    name=one.name,
                    created=one.creation_timestamp,
                    updated=one.last_updated_timestamp,
                    description=one.description,
                    tags=one.tags,
                    aliases={alias: int(version) for alias, version in one.aliases.items()},
                    versions=self._versions(one.name),
                )
                for one in paged(registry.search_registered_models, max_results=1000)
            ]

    def fetch(self, artifact_uri: str, folder: Path) -> Path | None:
        """Return a local folder with these artifacts; None if there are none."""
        with self._store.translate_errors():
            return fetch_folder(artifact_uri, folder, self.uri)

    def _run(self, found: Any) -> SourceRun:
        info, run_id = found.info, found.info.run_id
        history = (self._client.get_metric_history(run_id, key) for key in found.data.metrics)
        outputs = found.outputs.model_outputs if found.outputs else []
        return SourceRun(
            run_id=run_id,
            name=info.run_name or "",
            status=info.status,
            user=info.user_id,
            started=info.start_time,
            ended=info.end_time,
            artifact_uri=info.artifact_uri,
            params=found.data.params,
            tags=found.data.tags,
            points=[
                Point(one.key, one.value, one.timestamp, one.step) for points in history for one in points
            ],
            datasets=[_dataset(one) for one in (found.inputs.dataset_inputs if found.inputs else [])],
            models=[(one.model_id, one.step) for one in outputs],
        )

    def _versions(self, name: str) -> list[SourceVersion]:
        quoted = f'"{name}"' if "'" in name else f"'{name}'"
        found = paged(self._client.search_model_versions, filter_string=f"name = {quoted}", max_results=1000)
        versions = [
            SourceVersion(
                version=int(one.version),
                source=one.source or "",
                run_id=one.run_id or None,
                created=one.creation_timestamp,
                updated=one.last_updated_timestamp,
                stage=one.current_stage or "None",
                description=one.description,
                user=one.user_id,
                status=one.status,
                tags=one.tags,
            )
            for one in found
        ]
        return sorted(versions, key=lambda one: one.version)


def _dataset(found: Any) -> SourceDataset:
    dataset = found.dataset
    return SourceDataset(
        name=dataset.name,
        digest=dataset.digest,
        source_type=dataset.source_type,
        source=dataset.source,
        schema=dataset.schema,
        profile=dataset.profile,
        tags={tag.key: tag.value for tag in found.tags},
    )


def _model(found: Any) -> SourceModel:
    return SourceModel(
        model_id=found.model_id,
        name=found.name,
        artifact_uri=found.artifact_location,
        created=found.creation_timestamp,
        updated=found.last_updated_timestamp,
        status=MODEL_STATUSES.get(str(found.status), 2),
        run_id=found.source_run_id,
        model_type=found.model_type,
        params=found.params or {},
        tags=found.tags or {},
        points=[
            (Point(one.key, one.value, one.timestamp, one.step), one.run_id) for one in found.metrics or ()
        ],
    )
