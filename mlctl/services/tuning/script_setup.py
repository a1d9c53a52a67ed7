"""What all trials of a script share."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mlctl.adapters.keras import runtime
from mlctl.domain.script import ScriptRequest


@dataclass(frozen=True, kw_only=True)
class ScriptSetup:
    """A script, and how its trials are started.

    Attributes:
        script: The script with its own arguments.
        flag_style: How it gets the values of a trial.
        fork: Whether its processes are forks of the worker, which has imported Keras, or new ones.
    """

    script: ScriptRequest
    flag_style: str
    fork: bool

    def prepare_process(self, threads: int) -> None:
        """Set the threads of the processes that this one starts, and let them share a GPU."""
        if self.fork:
            runtime.set_threads(threads)
            return
        for name, value in {
            "TF_NUM_INTRAOP_THREADS": str(threads),
            "TF_NUM_INTEROP_THREADS": "1",
            "OMP_NUM_THREADS": str(threads),
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }.items():
            os.environ.setdefault(name, value)

    def save(self, path: Path, *, for_other_machines: bool = False) -> None:
        """Write it to a file."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> ScriptSetup:
        """Return what `save` wrote; in another process, trials run in new processes."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**fields, "script": ScriptRequest.from_tag(fields["script"]), "fork": False})
