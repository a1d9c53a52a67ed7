"""Each kind of output has plots of its answers, under names that do not clash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlctl.adapters.plots.answer_plots import plot_answers
from mlctl.adapters.plots.style import Caption, plot_files
from mlctl.domain.outputs import Output, classes, labels, pixels, sequence, values

pytestmark = pytest.mark.unit

RNG = np.random.default_rng(0)
MASKS = RNG.integers(0, 3, (5, 8, 8))


@pytest.mark.parametrize(
    ("output", "targets", "answers", "names"),
    [
        (
            classes("a", "b"),
            RNG.integers(0, 2, 20),
            RNG.random((20, 1)),
            ["confusion_matrix.png", "precision_recall.png"],
        ),
        (
            classes("a", "b", name="kind"),
            RNG.integers(0, 2, 20),
            RNG.random((20, 2)),
            ["kind_confusion_matrix.png", "kind_precision_recall.png"],
        ),
        (values("m"), RNG.random(20), RNG.random((20, 1)), ["predicted_vs_actual.png"]),
        (values(), RNG.random((20, 5)), RNG.random((20, 5)), ["predicted_vs_actual.png"]),
        (values(), RNG.random((20, 9, 9)), RNG.random((20, 9, 9, 1)), ["error_by_row.png"]),
        (
            labels("a", "b", "never"),
            np.array([[0, 1, 0], [1, 1, 0]]),
            RNG.random((2, 3)),
            ["label_f1.png", "precision_recall.png"],
        ),
        (pixels("a", "b", "c"), MASKS, RNG.random((5, 8, 8, 3)), ["confusion_matrix.png", "masks.png"]),
        (sequence("a", "b", "c"), MASKS[0] - 1, RNG.random((8, 8, 3)), ["confusion_matrix.png"]),
        (Output(kind="none"), None, RNG.random((5, 3)), []),
    ],
)
def test_the_plots_of_a_kind(
    output: Output, targets: Any, answers: Any, names: list[str], tmp_path: Path
) -> None:
    pictures = RNG.integers(0, 255, (4, 8, 8, 3), np.uint8)
    found = plot_answers(
        lambda name: tmp_path / name,
        output,
        targets,
        answers,
        caption=Caption(run_name="first", note="test split"),
        pictures=pictures,
    )
    assert found == [file for name in names for file in plot_files(name)]
    for name in names:
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 200
