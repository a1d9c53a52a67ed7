"""The page of a report: everything is escaped, and nothing is requested."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from mlctl.adapters.pages.report_page import render
from mlctl.adapters.plots.answer_plots import plot_confusions
from mlctl.adapters.plots.style import inline_svg
from mlctl.domain.report import (
    Report,
    ReportExample,
    ReportGallery,
    ReportPlot,
    ReportSection,
    ReportTable,
    ReportText,
)

pytestmark = pytest.mark.unit

EVIL = "</style></td><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def evil_plot() -> ReportPlot:
    buffer = io.BytesIO()
    plot_confusions(buffer, np.eye(2, dtype=np.int64), classes=(EVIL, "b"))
    return ReportPlot(title=EVIL, svg=inline_svg(buffer, EVIL))


def test_what_users_name_is_escaped() -> None:
    sections = [
        ReportSection(
            title=EVIL,
            blocks=[
                ReportTable(columns=(EVIL, "b"), rows=[(EVIL, EVIL)], title=EVIL),
                evil_plot(),
                ReportPlot(title=EVIL, uri=f"data:image/png;base64,{EVIL}"),
                ReportGallery(
                    [
                        ReportExample(lines=[(EVIL, EVIL)], input={"text": EVIL}),
                        ReportExample(lines=[], input={"picture": EVIL}),
                        ReportExample(lines=[], input={"parts": {EVIL: {"row": {EVIL: EVIL}}}}),
                        ReportExample(lines=[], input={"numbers": [EVIL]}),
                    ]
                ),
                ReportText(text=EVIL, title=EVIL, folded=True),
            ],
        ),
        ReportSection(title="Importance", missing=EVIL),
    ]
    page = render(Report(title=EVIL, subtitle=EVIL, sections=sections, facts=[(EVIL, EVIL)], made_by=EVIL))
    assert "<script" not in page
    assert "<img src=x" not in page
    assert page.count("</style>") == 2  # of the page, and of the plot
    assert page.count("alert(1)") > 10
    assert "var(--ink)" in page  # the plot has the page's colours
    requests = re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", page)
    assert requests == []
    assert "@import" not in page


def test_columns_of_numbers_are_aligned() -> None:
    table = ReportTable(columns=("run", "mae", "note"), rows=[("7", "1,000", "2 of 3"), ("8", "3.5 ★", "")])
    page = render(Report(title="x", subtitle="", sections=[ReportSection(title="Scores", blocks=[table])]))
    assert re.findall(r'<td class="number">([^<]*)', page) == ["1,000", "3.5 ★"]
