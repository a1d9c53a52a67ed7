"""List, show, compare, download and delete registered models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time
from pathlib import Path
from typing import Any

from mlctl.adapters.models.load import download_model as download_files
from mlctl.adapters.models.metadata import read_metadata
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.registry import (
    DownloadedModel,
    History,
    Lineage,
    ModelDetail,
    ModelDiff,
    ModelList,
    RegisteredModel,
    RegisteredVersion,
    RemovedModel,
)
from mlctl.domain.run import Run
from mlctl.domain.tags import FILE_LIBRARIES_TAG, FILE_SHA256_TAG, FILE_TAG
from mlctl.errors import MlctlError, RefusedError, UsageError
from mlctl.services.models.history import replay
from mlctl.services.models.registry_state import RegistryState, read_all_states, read_state
from mlctl.services.models.rollout_records import merge, read_rollouts
from mlctl.services.models.select import resolve_model
from mlctl.services.models.stages import CLASSIC_STAGES, canonical_stage, version_number
from mlctl.services.registry.gates import model_metrics, run_of_version
from mlctl.services.registry.proofs import read_proofs
from mlctl.services.runs.compare import differences, interval_pairs
from mlctl.services.runs.metrics import score_of
from mlctl.settings import Settings

FILE_TAGS = (FILE_TAG, FILE_SHA256_TAG, FILE_LIBRARIES_TAG)


def list_models(settings: Settings) -> ModelList:
    """Return every registered model with its versions, their stages and metrics."""
    store = TrackingStore(settings.tracking_uri)
    states = read_all_states(Registry(store))
    runs = _runs_by_id(store, [version for state in states for version in state.versions])
    return ModelList(tuple(_registered_model(state, runs) for state in states))


def show_model(settings: Settings, name: str, version: str | None = None) -> ModelDetail:
    """Return a registered model, or one version of it with its lineage. Raises NotFoundError."""
    store = TrackingStore(settings.tracking_uri)
    state = read_state(Registry(store), name)
    if version is None:
        return ModelDetail(_registered_model(state, _runs_by_id(store, state.versions)))
    chosen = state.version(version_number(version))
    run = run_of_version(store, chosen)
    only_chosen = replace(state, versions=(chosen,))
    model = _registered_model(only_chosen, {run.run_id: run} if run else {})
    return ModelDetail(model, _lineage(store, chosen, run))


def model_history(settings: Settings, name: str, stage: str | None = None, at: str | None = None) -> History:
    """Return a model's moves and rollouts, oldest first: all, the moves of one stage, or those up to a time.

    A move that took a stage away from its version belongs to that stage, too. The order of the records decides,
    not the clocks of their writers: a time cuts the history after the last move that is not later.
    """
    until = parse_time(at) if at else None
    wanted = canonical_stage(stage, settings.stages) if stage else None
    state = read_state(Registry(TrackingStore(settings.tracking_uri)), name)
    records = state.records
    if until is not None:
        early = [index for index, record in enumerate(records) if datetime.fromisoformat(record.at) <= until]
        records = records[: early[-1] + 1] if early else ()
    history = replay(records)
    entries = tuple(entry for entry in history.entries if wanted in (None, entry.stage, *entry.released))
    if wanted is None:
        rollouts = read_rollouts(state.model.tags)
        entries = merge(entries, (entry for entry in rollouts if until is None or entry.at <= until))
    return History(
        name,
        entries,
        {held: holder for held, holder in history.holders.items() if wanted in (None, held)},
        until,
        min((version.created for version in state.versions if version.created), default=None),
        () if until else state.disagreements,
    )


def diff_versions(settings: Settings, name: str, a: str, b: str) -> ModelDiff:
    """Return what differs between two versions: params, metrics, data, and the models themselves."""
    store = TrackingStore(settings.tracking_uri)
    state = read_state(Registry(store), name)
    versions = [state.version(version_number(number)) for number in (a, b)]
    runs = [run_of_version(store, version) for version in versions]
    lineages = [_lineage(store, version, run) for version, run in zip(versions, runs, strict=True)]
    metrics = differences(*(model_metrics(run) for run in runs))
    return ModelDiff(
        name=name,
        a=versions[0].version,
        b=versions[1].version,
        params=differences(*(lineage.params for lineage in lineages)),
        metrics=metrics,
        intervals=interval_pairs(metrics, *(run.intervals if run else {} for run in runs)),
        data=differences(*(_data_fields(lineage) for lineage in lineages)),
        model=differences(
            *(_model_fields(version, lineage) for version, lineage in zip(versions, lineages, strict=True))
        ),
    )


def plan_deletion(settings: Settings, name: str, version: str | None = None) -> RemovedModel:
    """Return what `delete_model` would delete. Raises RefusedError if a version of it holds a stage."""
    return _plan_deletion(Registry(TrackingStore(settings.tracking_uri)), name, version)


def delete_model(settings: Settings, name: str, version: str | None = None) -> RemovedModel:
    """Delete one version, or a model with its history. Runs and their logged models stay.

    Raises RefusedError if a version of it holds a stage.
    """
    registry = Registry(TrackingStore(settings.tracking_uri))
    removed = _plan_deletion(registry, name, version)
    registry.delete(name, None if removed.model_deleted else removed.versions[0])
    return removed


def download_model(settings: Settings, model: str, folder: Path) -> DownloadedModel:
    """Copy a model's folder. Raises RefusedError if `folder` exists and is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} exists and is not empty", "choose a new folder")
    store = TrackingStore(settings.tracking_uri)
    reference = resolve_model(store, model)
    return DownloadedModel(reference, str(folder), download_files(store, reference.uri, folder))


def parse_time(typed: str) -> datetime:
    """Return a time in ISO 8601: local if it has no zone; a bare date means the end of that day."""
    try:
        parsed = datetime.fromisoformat(typed.strip())
    except ValueError:
        raise UsageError(f"invalid time {typed!r}", "write 2026-11-01, or 2026-11-01T12:00") from None
    if len(typed.strip()) <= len("2026-11-01"):
        parsed = datetime.combine(parsed.date(), time.max)
    return parsed.astimezone() if parsed.tzinfo is None else parsed


def _plan_deletion(registry: Registry, name: str, version: str | None) -> RemovedModel:
    state = read_state(registry, name)
    versions = state.versions if version is None else (state.version(version_number(version)),)
    held = {stage for version in versions for stage in _held_stages(state, version)}
    if held:
        holders = ", ".join(f"{state.holder(stage)} holds {stage}" for stage in sorted(held))
        raise RefusedError(
            f"{name} cannot be deleted: version {holders}",
            f"release the stage first: mlctl promote {name} {state.holder(min(held))} Archived",
        )
    return RemovedModel(name, tuple(version.version for version in versions), version is None)


def _held_stages(state: RegistryState, version: RegisteredVersion) -> set[str]:
    """Return the stages that a version holds, including the user's own."""
    return {
        stage for stage in (*state.history.holders, *CLASSIC_STAGES) if state.holder(stage) == version.version
    }


def _registered_model(state: RegistryState, runs: Mapping[str, Run]) -> RegisteredModel:
    return RegisteredModel(
        name=state.name,
        versions=tuple(_with_metrics(version, runs.get(version.run_id or "")) for version in state.versions),
        description=state.model.description,
        tags={key: value for key, value in state.model.tags.items() if not key.startswith("mlctl.")},
        disagreements=state.disagreements,
    )


def _with_metrics(version: RegisteredVersion, run: Run | None) -> RegisteredVersion:
    return replace(
        version, metrics=model_metrics(run), intervals=run.intervals if run else {}, score=score_of(run)
    )


def _runs_by_id(store: TrackingStore, versions: Sequence[RegisteredVersion]) -> Mapping[str, Run]:
    ids = sorted({version.run_id for version in versions if version.run_id})
    return {run.run_id: run for run in store.get_runs(ids)}


def _lineage(store: TrackingStore, version: RegisteredVersion, run: Run | None) -> Lineage:
    notes, metadata = [], None
    try:
        metadata = read_metadata(store, version.uri)
    except MlctlError as error:  # the store's own facts are worth showing without the files
        notes.append(f"the model's files cannot be read: {error.message}")
    if version.run_id and run is None:
        notes.append(f"run {version.run_id} is deleted")
    return Lineage(
        run_name=run.run_name if run else None,
        params=run.params if run else {},
        data=run.data if run else None,
        inputs=metadata.inputs if metadata else (),
        outputs=metadata.outputs if metadata else (),
        flavors=metadata.flavors if metadata else {},
        size_bytes=metadata.size_bytes if metadata else None,
        notes=tuple(notes),
        origin={
            name.removeprefix("mlctl."): value for name, value in version.tags.items() if name in FILE_TAGS
        },
        proofs=read_proofs(store, run),
    )


def _data_fields(lineage: Lineage) -> dict[str, Any]:
    data = lineage.data
    if data is None:
        return {}
    return {"name": data.name, "source": data.source, "sha256": data.sha256, "rows": data.rows}


def _model_fields(version: RegisteredVersion, lineage: Lineage) -> dict[str, Any]:
    return {
        "stage": version.stage,
        "run": lineage.run_name,
        "source": version.source,
        "inputs": ", ".join(lineage.inputs),
        "outputs": ", ".join(lineage.outputs),
        "flavors": ", ".join(f"{name} {version}".strip() for name, version in lineage.flavors.items()),
        "size": lineage.size_bytes,
    }
