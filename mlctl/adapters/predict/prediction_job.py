"""The job that writes a file of predictions, recorded beside it until it is complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlctl.errors import RefusedError

OTHER_FILE_HINT = "delete it, or choose another name"


def check_job(job_file: Path, job: dict[str, Any], output: Path) -> None:
    """Raise RefusedError if another job started the output; the size of its batches may differ."""
    try:
        earlier_job = json.loads(job_file.read_text(encoding="utf-8"))
        earlier_job.pop("batch_size", None)  # of earlier versions
    except (OSError, ValueError, AttributeError):
        earlier_job = None
    if earlier_job != job:
        raise RefusedError(f"{output} was started with another model, version or input", OTHER_FILE_HINT)
