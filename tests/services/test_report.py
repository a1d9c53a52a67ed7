"""The plots of a training's metrics."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from mlctl.domain.progress import Epoch
from mlctl.services.training import report

pytestmark = pytest.mark.unit


class _Recorder:
    """Keeps the artifacts' names, and their files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logged: list[str] = []
        self.journal = SimpleNamespace(header={"run_name": "first"})

    def artifact_path(self, path: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def log_artifact(self, path: str) -> None:
        assert self.artifact_path(path).stat().st_size
        self.logged.append(path)


@pytest.mark.parametrize(
    ("metrics", "plotted"),
    [
        ({"loss": 1.0, "accuracy": 0.5}, ["loss", "accuracy"]),
        ({"loss": 1.0, "learning_rate": 0.1, "val_loss": 2.0, "val_f1": 0.5}, ["loss"]),
    ],
)
def test_metrics_without_validation_are_plotted_too(
    tmp_path: Path, metrics: dict[str, float], plotted: list[str]
) -> None:
    recorder = _Recorder(tmp_path)
    report.write_curves(recorder, [Epoch(1, metrics, 0.1), Epoch(2, metrics, 0.1)])  # type: ignore[arg-type]
    files = [f"plots/{name}.{kind}" for name in plotted for kind in ("png", "svg")]
    assert recorder.logged == ["history.csv", *files]
