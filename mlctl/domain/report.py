"""A report as a document: sections of tables, plots, examples and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ReportTable:
    """A table of texts; `folded` hides it until the reader opens it. `title` is empty if the section's is enough."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class ReportPlot:
    """A plot or picture: SVG that mlctl has drawn itself, or the data URI of any file, which runs no scripts.

    `wide` gives it the page's whole width.
    """

    title: str
    svg: str = ""
    uri: str = ""
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class ReportExample:
    """One row with a wrong answer: lines about it, and its input as `services.evaluation.examples` describes it."""

    lines: Sequence[tuple[str, str]]
    input: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportGallery:
    """Rows with wrong answers."""

    examples: Sequence[ReportExample]


@dataclass(frozen=True, kw_only=True)
class ReportText:
    """A text as it is; `folded` hides it until the reader opens it."""

    text: str
    title: str = ""
    folded: bool = False


ReportBlock = ReportTable | ReportPlot | ReportGallery | ReportText


@dataclass(frozen=True, kw_only=True)
class ReportSection:
    """A section; without blocks, `missing` says in one line why."""

    title: str
    blocks: Sequence[ReportBlock] = ()
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report of runs or of a registered model.

    Attributes:
        facts: What the top of the page shows: (name, value).
    """

    title: str
    subtitle: str
    sections: Sequence[ReportSection]
    facts: Sequence[tuple[str, str]] = ()
    made_by: str = ""


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """A report that was written to a file; `left_out` are the lines about sections without data."""

    file: str
    size_bytes: int
    title: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The card of a registered version, as a document and as Markdown; `file` is the page that was written, or ""."""

    name: str
    version: str
    report: Report
    markdown: str
    file: str = ""
