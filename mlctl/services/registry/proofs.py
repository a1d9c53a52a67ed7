"""The proofs of a model's exports, which its run keeps."""

from __future__ import annotations

import json

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.exports import PROOF_FILE, PROOF_FOLDER, ExportProof
from mlctl.domain.run import Run
from mlctl.errors import MlctlError


def read_proofs(store: TrackingStore, run: Run | None) -> tuple[ExportProof, ...]:
    """Return the proofs that a run keeps, by name; none if its artifacts cannot be read."""
    if run is None:
        return ()
    try:
        with store.translate_errors():
            # without a path first: MLflow itself would be asked for a folder that is not there
            top = [entry.path for entry in store.client.list_artifacts(run.run_id)]
            entries = store.client.list_artifacts(run.run_id, PROOF_FOLDER) if PROOF_FOLDER in top else ()
            folders = [entry.path for entry in entries]
        texts = [store.read_artifact(run, f"{folder}/{PROOF_FILE}") for folder in sorted(folders)]
    except MlctlError:
        return ()
    proofs = []
    for text in texts:
        try:
            proofs.append(ExportProof.from_json(json.loads(text)))
        except (KeyError, TypeError, ValueError):  # anyone can log a file of this name
            continue
    return tuple(proofs)
