"""The file of a run that says with which versions and on which machine it was made."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from mlctl.adapters.runlog.recorder import Recorder
from mlctl.adapters.system import provenance
from mlctl.domain.environment import CORES, ENVIRONMENT_FILE, SYSTEM, VERSION, to_json
from mlctl.services.training.report import log_text


def log_environment(recorder: Recorder, machine: Mapping[str, Any]) -> None:
    """Write and log the installed versions, and the machine: what is given, its cores and its system."""
    installed = {f"{VERSION}{name}": value for name, value in provenance.versions().items()}
    known = {**machine, CORES: provenance.available_cores(), SYSTEM: sys.platform, **installed}
    log_text(recorder, ENVIRONMENT_FILE, to_json(known))
