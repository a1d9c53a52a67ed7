"""The folder of an endpoint in the state directory: copies of models, counters and sockets.

model-VERSION-…    copies of the versions that are served, or were served before
.incoming-…        a copy that is being fetched
metrics/           counters of the workers, see metrics_files
versions/          counts by version, see rollout/version_stats
*.sock             sockets of versions that are tried
owner.json         the process that uses the folder
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mlctl import machine
from mlctl.files import write_atomically
from mlctl.serving.endpoint_spec import ServedVersion

INCOMING, MODEL, METRICS, OWNER = ".incoming-", "model-", "metrics", "owner.json"
TEMPORARY = (f"{INCOMING}*", f"{MODEL}*", METRICS, "versions", "*.sock", "routes.json", ".owner.json.*.part")


class EndpointFolder:
    """The files of one endpoint.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Create the folder, remove what an endpoint that was killed left, and make this process its owner."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.clear()
        self.open()

    def open(self) -> None:
        """Create what is missing, and make this process the owner."""
        (self.path / METRICS).mkdir(parents=True, exist_ok=True, mode=0o700)
        owner = {"pid": os.getpid(), "birth": machine.birth(os.getpid())}
        write_atomically(self.path / OWNER, json.dumps(owner).encode(), durable=False)

    def has_living_owner(self) -> bool:
        """Return whether another process that still runs owns the folder."""
        try:
            owner = json.loads((self.path / OWNER).read_text(encoding="utf-8"))
            pid, birth = int(owner["pid"]), owner["birth"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if pid == os.getpid():
            return False
        if birth is not None:
            return bool(machine.birth(pid) == birth)
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True

    def clear(self) -> None:
        """Remove copies, counters and sockets; logs of requests stay."""
        for pattern in TEMPORARY:
            for entry in self.path.glob(pattern):
                _remove(entry)

    def remove(self) -> None:
        """Remove copies, counters and sockets, and the folder if nothing else is in it."""
        self.clear()
        (self.path / OWNER).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def new_incoming(self) -> Path:
        """Return a new folder into which a model can be fetched."""
        folder = self.path / f"{INCOMING}{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        return folder

    def clear_incoming(self) -> None:
        """Remove copies whose fetching was interrupted."""
        for entry in self.path.glob(f"{INCOMING}*"):
            _remove(entry)

    def accept(self, serving: ServedVersion) -> ServedVersion:
        """Give a fetched copy its final name; a model that lies elsewhere stays there."""
        folder = Path(serving.folder)
        if not folder.is_relative_to(self.path):
            return serving
        incoming = self.path / folder.relative_to(self.path).parts[0]
        if not incoming.name.startswith(INCOMING):
            return serving
        version = re.sub(r"[^\w.-]", "-", serving.version) or "unversioned"
        final = self.path / f"{MODEL}{version}-{incoming.name.removeprefix(INCOMING)}"
        incoming.rename(final)
        return replace(serving, folder=str(final / folder.relative_to(incoming)))

    def keep_only(self, versions: Iterable[ServedVersion]) -> None:
        """Remove the copies of all other versions."""
        kept = {Path(version.folder) for version in versions}
        for entry in self.path.glob(f"{MODEL}*"):
            if not any(folder == entry or entry in folder.parents for folder in kept):
                _remove(entry)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
