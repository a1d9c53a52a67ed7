"""Labels of a new file, as a trained model has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl.data.tables import reader, target_column
from mlctl.errors import BadDataError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("cells", "classes", "indices"),
    [
        (["None", "new", "", "None"], ("None", "new", "old"), [0, 1, 0]),  # "None" usually is a missing value
        (["True", "False", ""], ("False", "True"), [1, 0]),
        (["01", "2", "x"], ("01", "1", "2", "x"), [0, 2, 3]),
        (["NEW ", "old"], ("new", "old"), [0, 1]),
        (["2", "3"], ("1", "2", "3"), [1, 2]),
        (["2.0", "3.0", ""], ("1", "2", "3"), [1, 2]),
    ],
)
def test_labels_become_class_indices_of_the_model(
    cells: list[str], classes: tuple[str, ...], indices: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "new.csv"
    path.write_text("x,kind\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells)))
    frame = reader.read(path).frame
    has_label, labels = target_column.read_labels(frame["kind"], classes=classes, model="Abc 1")
    assert has_label.tolist() == [cell != "" for cell in cells]
    assert labels.tolist() == indices
    with pytest.raises(BadDataError, match="Abc 1 does not know the class"):
        target_column.read_labels(frame["kind"], classes=("another", "third"), model="Abc 1")


def test_a_text_in_a_column_of_values_is_named_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("x,price\n1,2.5\n2,\n3,cheap\n4,dear\n")
    frame = reader.read(path).frame
    with pytest.raises(BadDataError, match="target price, row 3: found 'cheap', expected a number"):
        target_column.read_labels(frame["price"], classes=(), model="Abc 1")
    has_label, values = target_column.read_labels(frame["price"][:3], classes=(), model="Abc 1")
    assert has_label.tolist() == [True, False, False]
    assert values.tolist() == [2.5]
