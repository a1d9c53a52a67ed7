"""The versions and the machine of a run, from its file or its tags."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.environment import ENVIRONMENT_FILE, from_json, from_tags
from mlctl.domain.run import Run
from mlctl.domain.tags import RECIPE_TAG, TRIAL_TAG
from mlctl.errors import MlctlError


def read_environment(store: TrackingStore, run: Run, record: Path | None = None) -> Mapping[str, str]:
    """Return what is known of a run's versions and machine; nothing of trials and of other programs' runs.

    `record` is the folder of the run's record on this machine, which has the file, too.
    """
    environment = from_tags(run.tags)
    if environment or RECIPE_TAG not in run.tags or TRIAL_TAG in run.tags:
        return environment
    with contextlib.suppress(OSError):
        if record is not None:
            return from_json((record / "files" / ENVIRONMENT_FILE).read_text(encoding="utf-8"))
    try:
        return from_json(store.read_artifact(run, ENVIRONMENT_FILE))
    except MlctlError:  # everything else of the run is worth having
        return {}
