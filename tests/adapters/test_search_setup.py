"""What a search shares with workers that it does not fork: written to a file, or loaded by the workers themselves."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlctl.adapters.search.messages import SearchSetup
from mlctl.data.dataset import Dataset, Split
from mlctl.recipes import find

RECIPE = """
from mlctl.recipes import Recipe


class Rows:
    def __init__(self, rows):
        self.rows = rows


class Mine(Recipe):
    def load(self, source): ...

    def build(self, hp, data): ...
"""


def setup_of(folder: Path, **extra: Any) -> SearchSetup:
    file = folder / "mine.py"
    file.write_text(RECIPE)
    recipe = find(str(file))
    rows, targets = np.arange(12.0).reshape(4, 3), np.array([0, 1, 0, 1])
    data = Dataset(
        "d", Split({"a": rows}, targets, np.ones(4)), Split({"a": rows[:2]}, targets[:2]), extra=extra
    )
    return SearchSetup(
        source=str(file),
        recipe=recipe,
        data=data,
        train_inputs={"a": rows},
        validation_inputs={"a": rows[:2]},
        precision="float32",
        reload=("how", "to", "load"),
    )


@pytest.mark.parametrize("for_other_machines", [False, True])
def test_trees_functions_and_objects_of_a_recipe_are_written(
    for_other_machines: bool, tmp_path: Path
) -> None:
    setup = setup_of(tmp_path)
    holder = __import__(type(setup.recipe).__module__, fromlist=["Rows"]).Rows(3)
    setup = setup_of(tmp_path, function=lambda number: number + 1, holder=holder)
    setup.save(tmp_path / "setup", for_other_machines=for_other_machines)
    loaded = SearchSetup.load(tmp_path / "setup")
    assert loaded.data is not None
    assert loaded.data.extra["function"](1) == 2
    assert loaded.data.extra["holder"].rows == 3
    assert np.array_equal(loaded.train_inputs["a"], setup.train_inputs["a"])
    assert loaded.train_inputs["a"].ctypes.data % 64 == 0
    assert np.array_equal(loaded.data.train.weights, np.ones(4))


def test_data_that_cannot_be_written_is_left_to_the_worker(tmp_path: Path) -> None:
    setup_of(tmp_path, lock=threading.Lock()).save(tmp_path / "setup")
    loaded = SearchSetup.load(tmp_path / "setup")
    assert loaded.data is None
    assert loaded.reload == ("how", "to", "load")
    assert loaded.precision == "float32"
