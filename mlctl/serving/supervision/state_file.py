"""The state file of a running endpoint, which `mlctl endpoints` reads."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import psutil

from mlctl import machine
from mlctl.files import write_atomically
from mlctl.serving.endpoint_spec import EndpointSpec, ServedVersion
from mlctl.serving.supervision.events import log_event
from mlctl.serving.supervision.versions import RefusedVersion


class EndpointStateFile:
    """Writes the state file. Without a path it writes nothing."""

    def __init__(self, spec: EndpointSpec) -> None:
        self._spec = spec
        process = psutil.Process()
        self._identity = {
            "name": spec.endpoint,
            "url": spec.url,
            "pid": process.pid,
            "started": process.create_time(),
            "birth": machine.birth(process.pid),
            "log": spec.log,
            "timeout_s": spec.timeout_s,
        }

    def write(self, serving: ServedVersion, refused: RefusedVersion | None, **more: object) -> None:
        """Replace the file; the old one stays if the disk is full."""
        if not self._spec.state_file:
            return
        state = {
            **self._identity,
            "model_uri": serving.uri,
            "model": serving.name,
            "version": serving.version,
            "refused": dataclasses.asdict(refused) if refused else None,
            **more,
        }
        try:
            write_atomically(Path(self._spec.state_file), json.dumps(state).encode(), durable=False)
        except OSError as exc:
            log_event(f"the state file cannot be written: {exc.strerror}")

    def remove(self) -> None:
        """Remove the file."""
        if self._spec.state_file:
            Path(self._spec.state_file).unlink(missing_ok=True)
