"""The recipe and the data that a model was trained with, as its run recorded them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.data.sources.locate import sha256
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.tags import AUTOML, KIND_TAG, RECIPE_SHA256_TAG, RECIPE_SOURCE_TAG, REQUEST_TAG, SCRIPT_TAG
from mlctl.errors import MlctlError, NotFoundError, UsageError
from mlctl.recipes import ResolvedRecipe, names, resolve
from mlctl.services.evaluation.predictor import PredictorInfo
from mlctl.services.recipes import prepare
from mlctl.services.recipes.prepare import PreparedData
from mlctl.settings import Settings

RECIPE_FILE, CODE_FOLDER = "recipe.py", "code"  # artifacts of a run


@dataclass(frozen=True, kw_only=True)
class TrainingSource:
    """What `mlctl train` was called with: SOURCE, values, and the options for the data."""

    source: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    rows: int | None = None


def prepare_training_data(
    settings: Settings,
    store: TrackingStore,
    info: PredictorInfo,
    *,
    scratch: Path,
    listener: ProgressListener,
) -> PreparedData:
    """Return the data that a model was trained on.

    The run of the model says which recipe, values and data these were. Its copy of a recipe file is used if the file is
    gone. Raises UsageError if the model has no recipe, NotFoundError if neither the file nor the run can be found.
    """
    if not info.recipe:
        raise UsageError("--sample: this model does not name its recipe", "name an INPUT instead of --sample")
    run = _find_run(store, info.run_id)
    if run is not None and SCRIPT_TAG in run.tags:  # reading its data would train again
        raise UsageError(
            "--sample: a script trained the model, and mlctl does not know its data",
            "name an INPUT instead of --sample",
        )
    wanted = _source_of(run, info.recipe)
    resolved = _resolve(store, run, wanted.source, scratch)
    file = resolved.recipe.source_file()
    if run is not None and run.tags.get(RECIPE_SHA256_TAG, "") not in ("", sha256([file])):
        listener.message(f"{file} has changed since the model was trained")
    values = prepare.check_values(resolved, _known_values(resolved, wanted.overrides))
    return prepare.prepare(settings, resolved, values, data=wanted.data, rows=wanted.rows, listener=listener)


def _find_run(store: TrackingStore, run_id: str) -> Run | None:
    """Return the run; None if this store does not have it, as for a model that was copied from elsewhere."""
    if not run_id:
        return None
    try:
        return store.get_run(run_id)
    except MlctlError:
        return None


def _source_of(run: Run | None, recipe: str) -> TrainingSource:
    """Return what the run says of its training; only the recipe's name, if there is no run."""
    if run is None:
        return TrainingSource(source=recipe)
    try:
        request = json.loads(run.tags[REQUEST_TAG])
        return TrainingSource(
            source=_with_full_path(request["source"], run.tags.get(RECIPE_SOURCE_TAG, "")),
            overrides=_overrides(run, request),
            data=request.get("data"),
            rows=request.get("rows"),
        )
    except (KeyError, ValueError, TypeError):  # a trial of a search has no request; anyone can edit a tag
        place = run.tags.get(RECIPE_SOURCE_TAG, "")
        return TrainingSource(source=place if place.partition(":")[0].endswith(".py") else recipe)


def _overrides(run: Run, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values that a request set; those of automl, such as the target, are parameters of its run."""
    overrides: Mapping[str, Any] = request.get("overrides", request.get("given")) or {}
    return {**run.params, **overrides} if run.tags.get(KIND_TAG) == AUTOML else overrides


def _with_full_path(source: str, file: str) -> str:
    """Return SOURCE with the recipe file that it meant in the training's working directory."""
    path, _, class_name = source.rpartition(":") if ".py:" in source else (source, "", "")
    if not path.endswith(".py") or not file.endswith(".py"):
        return source
    return f"{file}:{class_name}" if class_name else file


def _resolve(store: TrackingStore, run: Run | None, source: str, scratch: Path) -> ResolvedRecipe:
    path, _, class_name = source.rpartition(":") if ".py:" in source else (source, "", "")
    if not path.endswith(".py"):
        try:
            return resolve(source)
        except NotFoundError as error:
            if run is not None or source in names():
                raise
            raise NotFoundError(
                f"--sample: the recipe {source!r} is not installed, and this store does not have the model's run",
                "name an INPUT instead of --sample",
            ) from error
    if not Path(path).is_file() and run is not None:
        path = str(_restore(store, run, Path(path).name, scratch))
    return resolve(f"{path}:{class_name}" if class_name else path)


def _restore(store: TrackingStore, run: Run, name: str, folder: Path) -> Path:
    """Download a run's copy of a recipe's file, and of the modules beside it; return the recipe's file."""
    artifacts = {artifact.path.partition("/")[0] for artifact in store.list_artifacts(run)}
    if RECIPE_FILE not in artifacts:
        raise NotFoundError(
            f"--sample: the recipe file {name} is gone, and its run has no copy", "name an INPUT instead"
        )
    if CODE_FOLDER in artifacts:
        code = store.download_artifact(run, CODE_FOLDER, folder / "download")
        shutil.copytree(code, folder, dirs_exist_ok=True)
    return Path(shutil.copy(store.download_artifact(run, RECIPE_FILE, folder / "download"), folder / name))


def _known_values(resolved: ResolvedRecipe, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the recipe still declares: it may have changed since."""
    declared = resolved.recipe.declared()
    return {name: value for name, value in overrides.items() if name.partition(".")[0] in declared}
