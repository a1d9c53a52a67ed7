"""How runs are shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain import Run
from mlctl.output.views.base import document


@document.register
def run_document(answer: Run) -> dict[str, Any]:
    """Return a run's document, its data reference included."""
    return {
        "run_id": answer.run_id,
        "run_name": answer.run_name,
        "experiment": answer.experiment,
        "status": answer.status,
        "recipe": answer.recipe,
        "params": dict(answer.params),
        "metrics": dict(answer.metrics),
        "tags": dict(answer.tags),
        "data": asdict(answer.data) if answer.data else None,
        "model_uri": answer.model_uri,
        "tracking_uri": answer.tracking_uri,
        "started_at": answer.started_at.isoformat() if answer.started_at else None,
        "duration_s": answer.duration_s,
    }
