"""The files of a run that a report shows."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.report import ReportPlot
from mlctl.domain.run import Artifact, Run
from mlctl.errors import MlctlError
from mlctl.services.evaluation.summary import FILE as EVALUATION

PICTURE_TYPES = {
    ".svg": "svg+xml",
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".gif": "gif",
    ".webp": "webp",
}
MAX_PICTURE_BYTES, MAX_PICTURES = 2_000_000, 12
MAX_TEXT_BYTES = 20_000_000


@dataclass(kw_only=True)
class RunFiles:
    """The artifacts of a run, downloaded when they are asked for.

    Attributes:
        folder: Folder for downloads.
        artifacts: All artifacts.
        problem: Why the artifacts cannot be read; "" if they can.
    """

    store: TrackingStore
    run: Run
    folder: Path
    artifacts: Sequence[Artifact]
    problem: str = ""

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {item.path: item.size_bytes for item in self.artifacts if item.size_bytes is not None}

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """What evaluation.json says of the model's answers; {} without one."""
        try:
            found = json.loads(self.text(EVALUATION) or "{}")
        except ValueError:  # anyone can log a file of this name
            return {}
        return found if isinstance(found, dict) and isinstance(found.get("outputs"), list) else {}

    def text(self, path: str) -> str:
        """Return a text file's content; "" if there is none."""
        if self._sizes.get(path, MAX_TEXT_BYTES + 1) > MAX_TEXT_BYTES:
            return ""
        try:
            return self.store.read_artifact(self.run, path)
        except (MlctlError, UnicodeDecodeError) as error:
            self.problem = f"{path} cannot be read: {error}"
            return ""

    def rows(self, path: str) -> list[list[str]]:
        """Return a CSV file's rows, the header first; [] if there is none."""
        return list(csv.reader(self.text(path).splitlines()))

    def pictures(self, skipped: Iterable[str] = ()) -> list[ReportPlot]:
        """Return the pictures among the artifacts, each as SVG if there are several formats."""
        left_out = set(skipped)
        plots: list[ReportPlot] = []
        stems: dict[str, list[str]] = {}
        for path in self._sizes:
            if Path(path).suffix.lower() in PICTURE_TYPES and not path.startswith(("model/", "checkpoint/")):
                stems.setdefault(str(Path(path).with_suffix("")), []).append(path)
        for stem, paths in sorted(stems.items()):
            if Path(stem).name in left_out or len(plots) == MAX_PICTURES:
                continue
            path = min(paths, key=lambda path: list(PICTURE_TYPES).index(Path(path).suffix.lower()))
            if file := self._download(path):
                kind = PICTURE_TYPES[Path(path).suffix.lower()]
                content = base64.b64encode(file.read_bytes()).decode()
                uri = f"data:image/{kind};base64,{content}"
                plots.append(ReportPlot(title=path, uri=uri, wide=True))
        return plots

    def _download(self, path: str) -> Path | None:
        if self._sizes[path] > MAX_PICTURE_BYTES:
            return None
        try:
            return self.store.download_artifact(self.run, path, self.folder / Path(path).parent)
        except MlctlError as error:
            self.problem = f"{path} cannot be read: {error.message}"
            return None
