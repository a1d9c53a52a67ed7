"""Every line of the tables about files in docs/your-own.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlctl.data.tables import reader
from mlctl.data.tables.formats.registry import FORMATS, SUFFIXES
from tests.data.test_table_files import FILES

pytestmark = pytest.mark.unit

PAGE = Path(__file__).parents[2] / "docs" / "your-own.md"
CODE = re.compile(r"`([^`]+)`")


def rows_below(heading: str) -> Iterator[list[str]]:
    """Yield the cells of the first table below a heading of the page."""
    _, _, section = PAGE.read_text(encoding="utf-8").partition(f"\n{heading}\n")
    lines = section.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| ---"))
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_every_suffix_is_documented() -> None:
    documented = {suffix for row in rows_below("## Which files are read") for suffix in CODE.findall(row[0])}
    assert set(FORMATS) <= documented
    assert documented <= {*SUFFIXES, *reader.COMPRESSIONS}
    written = {Path(name.partition("::")[0]).suffix for name in FILES} - {""}
    assert written <= {Path(f"t{suffix}").suffix for suffix in documented}


@pytest.mark.parametrize("row", rows_below("### What is above and below the rows"), ids=lambda row: row[0])
def test_heads_are_read_as_documented(row: list[str], tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(CODE.findall(row[0])[0].replace("⏎", "\n"), encoding="utf-8")
    frame = reader.read(path).frame
    assert list(frame) == CODE.findall(row[1])
    assert len(frame) == int(row[2])


@pytest.mark.parametrize("row", rows_below("### Encodings"), ids=lambda row: row[1])
def test_encodings_are_read_as_documented(row: list[str], tmp_path: Path) -> None:
    text, encoding = CODE.findall(row[0])[0], CODE.findall(row[1])[0]
    path = tmp_path / "t.csv"
    path.write_bytes(f"n;text;y\n1;{text};no\n2;{text};yes\n".encode(encoding))
    content = reader.read(path)
    assert content.description.startswith(encoding)
    assert content.frame["text"].tolist() == [text, text]
