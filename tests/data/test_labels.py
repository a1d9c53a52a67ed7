"""Labels of a new file, as a model that is there already knows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlctl.data.tables import label_column, reader
from mlctl.errors import BadDataError


@pytest.mark.parametrize(
    ("cells", "classes", "numbers"),
    [
        (["None", "new", "", "None"], ("None", "new", "old"), [0, 1, 0]),  # a class that reads as a gap
        (["True", "False", ""], ("False", "True"), [1, 0]),
        (["01", "2", "x"], ("01", "1", "2", "x"), [0, 2, 3]),
        (["2", "3"], ("1", "2", "3"), [1, 2]),
        (["2.0", "3.0", ""], ("1", "2", "3"), [1, 2]),
    ],
)
def test_targets_have_the_numbers_of_a_models_own_classes(
    cells: list[str], classes: tuple[str, ...], numbers: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "new.csv"
    path.write_text("x,kind\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells)))
    frame, _ = reader.read(path)
    there, found = label_column.known(path, frame, "kind", None, classes, "Abc 1")
    assert there.tolist() == [cell != "" for cell in cells]
    assert found.tolist() == numbers
    with pytest.raises(BadDataError, match="Abc 1 does not know the class"):
        label_column.known(path, frame, "kind", None, ("other", "another"), "Abc 1")
