"""Write the files that serve a model on another platform, or that another runtime reads."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.exports import PROOF_FILE, PROOF_FOLDER, ExportedModel, ExportProof
from mlctl.domain.progress import NullProgress, ProgressListener
from mlctl.errors import MlctlError, RefusedError, UsageError, did_you_mean
from mlctl.files import locked_folder
from mlctl.services.models.fetch import fetch_reference
from mlctl.services.models.select import resolve_model
from mlctl.services.serving.exports import TARGETS
from mlctl.services.serving.exports.base import ExportOptions, ModelToExport
from mlctl.services.serving.exports.formats import check_options
from mlctl.settings import Settings

STAGING = ".mlctl-export-"
NEW_FOLDER_S = 60.0  # a folder may be younger than its lock


def export_model(
    settings: Settings,
    model: str,
    *,
    target: str,
    folder: Path,
    options: ExportOptions | None = None,
    replace: bool = False,
    listener: ProgressListener | None = None,
) -> ExportedModel:
    """Write the files of an export target into a folder that does not exist or is empty; return their names.

    The files are written into a temporary folder and moved when all are complete, so that a failure leaves nothing
    behind; after a kill, the next export removes it. The proof of a format is logged to the model's run.

    Args:
        settings: Settings in force.
        model: MODEL, as the user typed it.
        target: Name of the target.
        folder: The folder to write.
        options: Options of the target.
        replace: Replace an earlier export in the folder.
        listener: Receives progress messages.

    Raises:
        UsageError: The target is unknown, or a value would break a manifest.
        RefusedError: The folder exists and is not empty, or the export's score falls by too much.
        MlctlError: The model cannot be found or fetched.
    """
    options = options or ExportOptions()
    options.check()
    if target not in TARGETS:
        hint = did_you_mean(target, TARGETS) or f"targets: {', '.join(TARGETS)}"
        raise UsageError(f"there is no export target {target!r}", hint)
    check_options(TARGETS[target], target, options)
    if _is_taken(folder) and not (replace and is_export(folder)):
        raise RefusedError(f"{folder} exists and is not empty", "choose another folder, or empty it")
    folder = folder.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir():
        raise RefusedError(f"{existing} is a file, not a folder", "choose another folder")
    store = TrackingStore(settings.tracking_uri)
    with tempfile.TemporaryDirectory(prefix="mlctl-model-") as scratch, _staging_folder(existing) as staging:
        reference = resolve_model(store, model)
        to_export = ModelToExport(
            served=fetch_reference(store, reference, model, Path(scratch)),
            options=options,
            target=target,
            settings=settings,
            store=store,
            reference=reference,
            listener=listener or NullProgress(),
        )
        part = staging / "new"
        part.mkdir()
        notes = TARGETS[target].write(to_export, part)
        names = sorted(file.relative_to(part).as_posix() for file in part.rglob("*") if file.is_file())
        _replace_content(folder, part, staging / "old")
    proof = _read_proof(folder)
    if proof is not None:
        notes = (*notes, *_log_proof(store, reference.run_id, folder / PROOF_FILE, proof))
    return ExportedModel(kind=target, folder=str(folder), files=tuple(names), proof=proof, notes=notes)


def is_export(folder: Path) -> bool:
    """Return whether a folder holds an earlier export with its proof, which may be replaced."""
    return (folder / PROOF_FILE).is_file() and (folder / "model.json").is_file()


def _is_taken(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or bool(_entries(folder)))


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder, without the staging folders of exports."""
    return [entry for entry in folder.iterdir() if not entry.name.startswith(STAGING)]


@contextmanager
def _staging_folder(parent: Path) -> Iterator[Path]:
    """Yield a new hidden folder in `parent`, and remove those that killed processes left there."""
    for old in parent.glob(f"{STAGING}*"):
        with suppress(OSError), locked_folder(old, wait=False):  # that of a living process stays
            if time.time() - old.stat().st_mtime > NEW_FOLDER_S:
                shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=STAGING, dir=parent) as name:
        staging = Path(name)
        with locked_folder(staging, wait=False):
            yield staging


def _replace_content(folder: Path, new: Path, old: Path) -> None:
    """Make `new` the folder; if the folder exists, move its content to `old` and that of `new` into it."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        new.rename(folder)
        return
    old.mkdir()
    for source, target in ((folder, old), (new, folder)):
        for entry in _entries(source):
            shutil.move(entry, target)


def _read_proof(folder: Path) -> ExportProof | None:
    file = folder / PROOF_FILE
    return ExportProof.from_json(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def _log_proof(store: TrackingStore, run_id: str | None, file: Path, proof: ExportProof) -> tuple[str, ...]:
    """Log a proof to the model's run; return notes."""
    if not run_id:
        return ("the model has no run, so the proof is in the folder only",)
    try:
        with store.translate_errors():
            store.mlflow_client.log_artifact(run_id, str(file), f"{PROOF_FOLDER}/{proof.title}")
    except (MlctlError, OSError) as error:
        reason = error.message if isinstance(error, MlctlError) else str(error)
        return (f"the proof is in the folder only, as the run did not take it: {reason}",)
    return ()
