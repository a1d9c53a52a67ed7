"""Looking at registered models, comparing, fetching and deleting them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, time
from pathlib import Path
from typing import Any

from mlctl.adapters.models import load, metadata
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
from mlctl.errors import MlctlError, RefusedError, UsageError
from mlctl.services.models import history as audit
from mlctl.services.models import select, stages
from mlctl.services.models.registry_state import RegistryState, look, seen, seen_all
from mlctl.services.registry.gates import kept_metrics, run_of
from mlctl.settings import Settings


def list_models(settings: Settings) -> ModelList:
    """Return every registered model with its versions, who holds what, and what each version reached."""
    store = TrackingStore(settings.tracking_uri)
    found = seen_all(Registry(store))
    runs = _runs(store, [one for standing in found for one in standing.versions])
    return ModelList(tuple(_model(standing, runs) for standing in found))


def show(settings: Settings, name: str, version: str | None = None) -> ModelDetail:
    """Return a registered model, or one version of it with its lineage; raises NotFoundError."""
    store = TrackingStore(settings.tracking_uri)
    standing = seen(Registry(store), name)
    if version is None:
        return ModelDetail(_model(standing, _runs(store, standing.versions)))
    chosen = standing.version(stages.number(version))
    run = run_of(store, chosen)
    whole = _model(standing, {run.run_id: run} if run else {})
    one = next(one for one in whole.versions if one.version == chosen.version)
    return ModelDetail(replace(whole, versions=(one,)), _lineage(store, chosen, run))


def history(settings: Settings, name: str, stage: str | None = None, at: str | None = None) -> History:
    """Return a model's moves, oldest first, those of one stage, or those up to a time.

    Moves that took a stage away from its version count among that stage's. The records' own order decides,
    not the clocks that wrote them: a time cuts after the last move that is not later.
    """
    until = moment(at) if at else None
    wanted = stages.canonical(stage, settings.stages) if stage else None
    standing = seen(Registry(TrackingStore(settings.tracking_uri)), name)
    records = audit.records(standing.model.tags)
    if until is not None:
        early = [place for place, one in enumerate(records) if datetime.fromisoformat(one.at) <= until]
        records = records[: early[-1] + 1] if early else ()
    outcome = audit.replay(records)
    moves = [one for one in outcome.moves if wanted is None or wanted in (one.stage, *one.released)]
    holders = {one: held for one, held in outcome.holders.items() if wanted in (None, one)}
    return History(name, tuple(moves), holders)


def diff(settings: Settings, name: str, a: str, b: str) -> ModelDiff:
    """Return what differs between two versions: params, metrics of the kept models, data, and the models."""
    store = TrackingStore(settings.tracking_uri)
    standing = seen(Registry(store), name)
    first, second = standing.version(stages.number(a)), standing.version(stages.number(b))
    runs = run_of(store, first), run_of(store, second)
    lineages = _lineage(store, first, runs[0]), _lineage(store, second, runs[1])
    return ModelDiff(
        name, first.version, second.version,
        _differing(*(one.params for one in lineages)),
        _differing(*(kept_metrics(run) for run in runs)),
        _differing(*(_data(one) for one in lineages)),
        _differing(*(_about(version, one) for version, one in zip((first, second), lineages, strict=True))),
    )  # fmt: skip


def deletable(settings: Settings, name: str, version: str | None = None) -> RemovedModel:
    """Return what `delete` would delete; raises RefusedError where a version of it holds a stage."""
    standing = look(Registry(TrackingStore(settings.tracking_uri)), name)
    chosen = standing.versions if version is None else (standing.version(stages.number(version)),)
    held = {stage for one in chosen for stage in _stages_of(standing, one)}
    if held:
        who = ", ".join(f"{standing.holder(stage)} holds {stage}" for stage in sorted(held))
        raise RefusedError(
            f"{name} cannot be deleted: version {who}",
            f"mlctl promote {name} VERSION Archived takes it out first",
        )
    return RemovedModel(name, tuple(one.version for one in chosen), version is None)


def delete(settings: Settings, name: str, version: str | None = None) -> RemovedModel:
    """Delete one version, or a model with its history; runs and their models stay.

    Raises RefusedError where a version of it holds a stage.
    """
    removed = deletable(settings, name, version)
    Registry(TrackingStore(settings.tracking_uri)).delete(
        name, None if removed.whole else removed.versions[0]
    )
    return removed


def download(settings: Settings, model: str, folder: Path) -> DownloadedModel:
    """Copy a model's folder; raises RefusedError where `folder` has something in it already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} is there already, and not empty", "name a folder that is not there")
    reference = select.resolve(settings, model)
    size = load.copied(TrackingStore(settings.tracking_uri), reference.uri, folder)
    return DownloadedModel(reference, str(folder), size)


def moment(typed: str) -> datetime:
    """Return a time from ISO 8601: local unless a zone is given; a bare date means its end."""
    try:
        found = datetime.fromisoformat(typed.strip())
    except ValueError:
        raise UsageError(f"{typed!r} is no time", "write 2026-11-01, or 2026-11-01T12:00") from None
    if len(typed.strip()) <= len("2026-11-01"):
        found = datetime.combine(found.date(), time.max)
    return found.astimezone() if found.tzinfo is None else found


def _stages_of(standing: RegistryState, version: RegisteredVersion) -> set[str]:
    """Return the stages that a version holds, an operator's own among them."""
    held = {stage for stage in standing.outcome.holders if standing.holder(stage) == version.version}
    return held | {stage for stage in stages.CLASSIC_HELD if standing.holder(stage) == version.version}


def _model(standing: RegistryState, runs: Mapping[str, Run]) -> RegisteredModel:
    versions = tuple(
        replace(one, metrics=kept_metrics(runs.get(one.run_id or ""))) for one in standing.versions
    )
    return RegisteredModel(standing.name, versions, standing.model.description, _own(standing.model.tags))


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not key.startswith("mlctl.")}


def _runs(store: TrackingStore, versions: Any) -> Mapping[str, Run]:
    ids = sorted({one.run_id for one in versions if one.run_id})
    return {run.run_id: run for run in store.runs(ids)}


def _lineage(store: TrackingStore, version: RegisteredVersion, run: Run | None) -> Lineage:
    facts, notes = None, []
    try:
        facts = metadata.facts(store, version.uri)
    except MlctlError as error:  # what the store itself holds is worth showing without the files
        notes.append(f"the model's files cannot be read: {error.message}")
    if version.run_id and run is None:
        notes.append(f"run {version.run_id} is deleted")
    return Lineage(
        run.run_name if run else None, run.params if run else {}, run.data if run else None,
        facts.inputs if facts else (), facts.outputs if facts else (), facts.flavors if facts else {},
        facts.size_bytes if facts else None, tuple(notes),
    )  # fmt: skip


def _data(lineage: Lineage) -> dict[str, Any]:
    data = lineage.data
    if data is None:
        return {}
    return {"name": data.name, "source": data.source, "sha256": data.sha256, "rows": data.rows}


def _about(version: RegisteredVersion, lineage: Lineage) -> dict[str, Any]:
    return {
        "stage": version.stage, "run": lineage.run_name, "source": version.source,
        "inputs": ", ".join(lineage.inputs), "outputs": ", ".join(lineage.outputs),
        "flavors": ", ".join(f"{name} {release}".strip() for name, release in lineage.flavors.items()),
        "size": lineage.size_bytes,
    }  # fmt: skip


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {key: (a.get(key), b.get(key)) for key in dict.fromkeys((*a, *b)) if a.get(key) != b.get(key)}
