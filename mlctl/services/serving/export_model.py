"""Write the files that serve a model on another platform."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.server import ExportedFiles
from mlctl.errors import RefusedError, UsageError, did_you_mean
from mlctl.services.models.fetch import fetch_model
from mlctl.services.serving.exports import TARGETS
from mlctl.services.serving.exports.base import ExportOptions, ModelToExport
from mlctl.settings import Settings


def export_model(
    settings: Settings, model: str, *, target: str, folder: Path, options: ExportOptions | None = None
) -> ExportedFiles:
    """Write the files of an export target into a folder that does not exist or is empty; return their names.

    The files are written into a temporary folder and moved when all are complete, so that a failure leaves nothing
    behind.

    Raises:
        UsageError: The target is unknown, or a value would break a manifest.
        RefusedError: The folder exists and is not empty.
        MlctlError: The model cannot be found or fetched.
    """
    options = options or ExportOptions()
    options.check()
    if target not in TARGETS:
        hint = did_you_mean(target, TARGETS) or f"targets: {', '.join(TARGETS)}"
        raise UsageError(f"there is no export target {target!r}", hint)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RefusedError(f"{folder} exists and is not empty", "choose another folder, or empty it")
    folder = folder.absolute()
    existing_folder = next(path for path in (folder, *folder.parents) if path.is_dir())
    with (
        tempfile.TemporaryDirectory(prefix="mlctl-model-") as scratch,
        tempfile.TemporaryDirectory(prefix=".mlctl-export-", dir=existing_folder) as staging,
    ):
        served = fetch_model(TrackingStore(settings.tracking_uri), model, Path(scratch))
        part = Path(staging)
        TARGETS[target].write(ModelToExport(served, options), part)
        names = sorted(file.relative_to(part).as_posix() for file in part.rglob("*") if file.is_file())
        folder.mkdir(parents=True, exist_ok=True)
        for entry in part.iterdir():
            shutil.move(entry, folder)
    return ExportedFiles(target, str(folder), dict.fromkeys(names, ""))
