"""A report as one HTML file that needs nothing else: no scripts, no requests; light, dark and on paper."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
from markupsafe import Markup

from mlctl.domain.report import Report, ReportGallery, ReportPlot, ReportTable
from mlctl.errors import UsageError
from mlctl.files import write_atomically

SUFFIXES = (".html", ".htm")
NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+(e[-+]?\d+)?%?|nan|")


def check_page_name(file: Path) -> None:
    """Raise UsageError if the name of a page does not end in .html."""
    if file.suffix.lower() not in SUFFIXES:
        name = file.with_suffix(SUFFIXES[0]) if file.name else f"report{SUFFIXES[0]}"
        raise UsageError(f"{file} does not end in .html", f"use {name}")


def write_page(report: Report, file: Path) -> int:
    """Write a report as one HTML file and return its size in bytes. Raises as `check_page_name` does."""
    check_page_name(file)
    content = render(report).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, content, durable=False)
    return len(content)


def render(report: Report) -> str:
    """Return the page. Every text is escaped; only the SVG of mlctl's own plots is not."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(kind=_kind, trusted=Markup, numbers=_number_columns, anchor=_anchor)
    return environment.get_template("report.html").render(report=report)


def _kind(block: object) -> str:
    kinds = {ReportTable: "table", ReportPlot: "plot", ReportGallery: "gallery"}
    return next((name for kind, name in kinds.items() if isinstance(block, kind)), "text")


def _number_columns(table: ReportTable) -> list[bool]:
    """Return for each column whether it holds numbers only, so that they are aligned."""
    columns = zip(*table.rows, strict=True)
    return [
        any(cells) and place > 0 and all(NUMBER.fullmatch(cell.strip(" ★")) for cell in cells)
        for place, cells in enumerate(columns)
    ]


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")
