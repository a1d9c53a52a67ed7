"""Text tables that are quoted in an unusual way, rewritten as usual CSV: single quotes, backslashes, quoted lines; and ARFF."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlctl.errors import BadDataError

SINGLE_QUOTES, BACKSLASHES, QUOTED_LINES = "single quotes", "backslashes", "quoted lines"
SIGNS = (",", ";", "\t", "|")  # the usual delimiters of one character
SAMPLE_LINES = 200
MIN_SHARE, MOST_IRREGULAR = 0.8, 0.9
_SINGLE_QUOTED = re.compile(r"(?:^|[,;\t|])\s*'[^'\n]*'\s*(?:$|[,;\t|])")
_RELATION = re.compile(r"^\s*@relation\b", re.IGNORECASE | re.MULTILINE)
_ATTRIBUTE = re.compile(r"^\s*@attribute\s+('[^']*'|\"[^\"]*\"|\S+)", re.IGNORECASE | re.MULTILINE)
_DATA = re.compile(r"^\s*@data\b.*$", re.IGNORECASE | re.MULTILINE)


def find_style(text: str) -> str:
    """Return how a text table is quoted, from its first lines: one of the styles above, or "" for the usual way."""
    if '"' not in text:
        return SINGLE_QUOTES if "'" in text and _has_single_quotes(text) else ""
    if _has_quoted_lines(text):
        return QUOTED_LINES
    if '\\"' in text and _has_backslashes(text):
        return BACKSLASHES
    return ""


def as_usual(text: str, style: str, delimiter: str) -> str:
    """Return a text table as usual CSV, with as many lines."""
    if not style:
        return text
    if style == QUOTED_LINES:
        return "".join(f"{line}\n" for line in _without_quotes(io.StringIO(text, newline=None)))
    lines = io.StringIO(text, newline="")
    rewritten = io.StringIO(newline="")
    writer = csv.writer(rewritten, delimiter=delimiter, lineterminator="\n")
    writer.writerows(_rows(lines, style, delimiter))
    return rewritten.getvalue()


def _rows(lines: Iterator[str], style: str, delimiter: str) -> Iterator[list[str]]:
    if style == SINGLE_QUOTES:
        return csv.reader(lines, delimiter=delimiter, quotechar="'", escapechar="\\", skipinitialspace=True)
    return csv.reader(lines, delimiter=delimiter, escapechar="\\", doublequote=False, skipinitialspace=True)


def _without_quotes(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        text = line.rstrip("\r\n")
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1].replace('""', '"')
        yield text


def _sample(text: str) -> list[str]:
    return [line for line in text.splitlines()[:SAMPLE_LINES] if line.strip()]


def _has_single_quotes(text: str) -> bool:
    lines = _sample(text)
    quoted = sum(bool(_SINGLE_QUOTED.search(line)) for line in lines)
    return len(lines) > 1 and quoted >= MIN_SHARE * len(lines)


def _has_quoted_lines(text: str) -> bool:
    """Whether each line is one quoted cell that holds a row."""
    lines = _sample(text)
    if len(lines) < 2 or not all(line.rstrip()[0] == line.rstrip()[-1] == '"' for line in lines):
        return False
    if any(len(row) != 1 for row in csv.reader(lines)):
        return False
    rows = [line.rstrip() for line in _without_quotes(iter(lines))]
    return max(_regularity(list(csv.reader(rows, delimiter=sign))) for sign in SIGNS) > MOST_IRREGULAR


def _has_backslashes(text: str) -> bool:
    """Whether rows have the same width only if a backslash before a quote is read as a part of the cell."""
    lines = text.splitlines(keepends=True)[:SAMPLE_LINES]
    try:
        usual = max(_regularity(list(csv.reader(lines, delimiter=sign))) for sign in SIGNS)
        escaped = max(_regularity(list(_rows(iter(lines), BACKSLASHES, sign))) for sign in SIGNS)
    except csv.Error:
        return False
    return escaped > usual


def _regularity(rows: Sequence[Sequence[str]]) -> float:
    """Return the share of rows that have the most frequent number of cells, 0 if this is 1."""
    widths = [len(row) for row in rows if row]
    usual = max(set(widths), key=widths.count, default=1)
    return widths.count(usual) / len(widths) if usual > 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class ArffHeader:
    """The header of an ARFF file: its columns, and how many lines it has."""

    names: tuple[str, ...]
    lines: int
    style: str


def read_arff_header(path: object, text: str) -> ArffHeader | None:
    """Return the header of an ARFF file, as Weka writes them; None for any other text. Raises BadDataError."""
    data = _DATA.search(text)
    if data is None or not _RELATION.search(text[: data.start()]):
        return None
    names = tuple(name.strip("'\"") for name in _ATTRIBUTE.findall(text[: data.start()]))
    body = text[data.end() :].lstrip()
    if not names or body.startswith("{"):
        raise BadDataError(f"{path} is an ARFF file without full rows", "convert it to CSV")
    has_single_quotes = "'" in body and '"' not in body
    return ArffHeader(
        names=names,
        lines=text[: data.end()].count("\n") + 1,
        style=SINGLE_QUOTES if has_single_quotes else "",
    )
