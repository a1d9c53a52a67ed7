"""Tables in HTML and in Excel's XML of 2003, which many programs export as .xls."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from mlctl.data.tables.encodings import scan_bytes
from mlctl.data.tables.formats.content import ReadOptions, TableContent
from mlctl.data.tables.table_rows import UNNAMED, find_table
from mlctl.data.tables.written_cells import to_frame
from mlctl.errors import BadDataError

START_BYTES = 4096
_START = re.compile(rb"<(?:html|table|!doctype html|(?:\w+:)?workbook)\b", re.IGNORECASE)
_CHARSET = re.compile(rb"(?:charset|encoding)=[\"']?([\w-]+)", re.IGNORECASE)
_SKIPPED = frozenset({"script", "style"})


def is_markup(start: bytes) -> bool:
    """Whether a file that begins with these bytes is an HTML page or a workbook in XML."""
    text = start.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return text.startswith(b"<") and bool(_START.search(text))


def read_markup(path: Path, options: ReadOptions) -> TableContent:
    """Return the largest table of an HTML page or of a workbook in XML. Raises BadDataError if there is none."""
    import pyarrow

    content = path.read_bytes()
    declared = _CHARSET.search(content[:START_BYTES])
    try:
        text = content.decode(declared[1].decode() if declared else scan_bytes(content).encoding)
    except (UnicodeDecodeError, LookupError):
        text = content.decode(scan_bytes(content).encoding, errors="replace")
    parser = _TableParser()
    parser.feed(text)
    rows = max(parser.tables, key=len, default=[])
    if not rows:
        raise BadDataError(f"{path} holds no table", "save it as .xlsx or .csv")
    place = find_table(path, rows, header=options.header, known_names=options.known_names)
    body = [row for row in rows[place.first : place.last] if any(cell.strip() for cell in row)][
        : options.rows
    ]
    columns, names = [], []
    for number, name in enumerate(place.names):
        cells = [row[number] if number < len(row) else "" for row in body]
        if not (name.startswith(UNNAMED) and not any(map(str.strip, cells))):
            columns.append(pyarrow.chunked_array([pyarrow.array(cells, pyarrow.large_string())]))
            names.append(name)
    header = "with a header" if place.header else "without a header (columns are c1, c2, …)"
    return TableContent(
        frame=to_frame(columns, names), description=f"a table in markup, {header}", notes=place.notes
    )


class _TableParser(HTMLParser):
    """Collects the cells of each table; a row is <tr> or <Row>, a cell <td>, <th> or <Cell>."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._cell: list[str] | None = None
        self._skipped = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        tag = tag.rpartition(":")[2]
        if tag == "table":
            self.tables.append([])
        elif tag in ("tr", "row") and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th", "cell") and self.tables and self.tables[-1]:
            self._end_cell()
            row, given = self.tables[-1][-1], dict(attributes)
            if (place := given.get("ss:index") or "").isdigit():
                row += [""] * (int(place) - 1 - len(row))
            self._cell = []
        elif tag in _SKIPPED:
            self._skipped += 1
        elif tag == "br" and self._cell is not None:
            self._cell.append(" ")

    def handle_endtag(self, tag: str) -> None:
        tag = tag.rpartition(":")[2]
        if tag in ("td", "th", "cell", "tr", "row", "table"):
            self._end_cell()
        elif tag in _SKIPPED:
            self._skipped = max(0, self._skipped - 1)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        if self._cell is not None and not self._skipped:
            self._cell.append(data)

    def _end_cell(self) -> None:
        if self._cell is not None and self.tables and self.tables[-1]:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
        self._cell = None
