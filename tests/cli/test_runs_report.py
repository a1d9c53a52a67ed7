"""mlctl runs report: of runs of mlctl and of other programs, and in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tracking_store import Answer
from tests.trained import Trained

Mlctl = Callable[..., Answer]

OVERLAPPING_LABELS = """
[...document.querySelectorAll("figure svg")].flatMap(svg => {
  const texts = [...svg.querySelectorAll("text")].filter(text => !/rotate\\((?!-?0[ ,)])/.test(text.getAttribute("transform")));
  const boxes = texts.map(text => [text.textContent, text.getBoundingClientRect()]);
  return boxes.flatMap(([a, x], i) => boxes.slice(i + 1)
    .filter(([, y]) => x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 2 && y.top < x.bottom - 2)
    .map(([b]) => `${a} and ${b}`));
})
"""


@pytest.mark.unit
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["report", "peek"], 3, "did you mean peak?"),
        (["report", "peak", "--out", "peak.txt"], 2, "use peak.html"),
        (["plot", "broken"], 2, "has one value of val_f1: 0.97; a curve needs two"),
        (["plot", "peak", "--metric", "test_accuracy"], 2, "val_f1, val_loss"),
    ],
)
def test_mistakes_are_explained(
    mlctl: Mlctl, store: str, arguments: list[str], code: int, message: str
) -> None:
    answer = mlctl("runs", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err


def test_a_run_whose_model_was_not_scored_is_reported_too(mlctl: Mlctl, store: str, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "stock.html"
    answer = json.loads(mlctl("runs", "report", "stock", "--out", file, "-o", "json").out)
    assert answer["title"] == "stock"
    assert any(
        line.startswith("Most wrong examples: the run has no evaluation.json") for line in answer["left_out"]
    )
    page = file.read_text(encoding="utf-8")
    assert "accuracy by value" in page
    assert "the run does not say what it was trained on" in page
    assert mlctl("runs", "report", "stock", "--out", file).code == 4  # it exists


def test_several_runs_are_compared(mlctl: Mlctl, store: str, tmp_path: Path) -> None:
    file = tmp_path / "two.html"
    assert mlctl("runs", "report", "peak", "steady", "--out", file).code == 0
    page = file.read_text(encoding="utf-8")
    assert "0.9 ★" in page
    assert "val f1 by epoch of 2 runs" in page
    assert re.search(r"epochs</td><td[^>]*>10</td><td[^>]*>20<", page)


@pytest.mark.live
@pytest.mark.needs("browser")
def test_the_report_in_a_browser(
    digits: Trained, mlctl: Mlctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.serving.browser import Browser

    monkeypatch.setenv("MLFLOW_TRACKING_URI", digits.uri)
    monkeypatch.chdir(digits.folder)
    file = tmp_path / "digits.html"
    assert mlctl("runs", "report", "last", "--out", file).code == 0
    browser = Browser(tmp_path / "profile")
    try:
        browser.call("Page.navigate", url=file.as_uri())
        browser.wait_until("document.readyState === 'complete' && !!document.querySelector('footer')")
        titles = browser.evaluate("[...document.querySelectorAll('h2')].map(h => h.innerText)")
        expected = [
            "Summary",
            "Curves",
            "Answers",
            "Most wrong examples",
            "Data",
            "Parameters",
            "Environment",
        ]
        assert [title for title in titles if title != "Left out"] == expected
        assert browser.evaluate("document.querySelectorAll('.card img').length") > 0
        assert browser.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert (
            browser.evaluate(
                "performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length"
            )
            == 0
        )
        assert browser.evaluate(OVERLAPPING_LABELS) == []
        colours = {}
        for scheme in ("light", "dark"):
            features: list[Any] = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.call("Emulation.setEmulatedMedia", features=features)
            colours[scheme] = browser.evaluate(
                "[document.body, document.querySelector('svg text')].map("
                "(e, i) => getComputedStyle(e)[i ? 'fill' : 'backgroundColor'])"
            )
        assert colours["light"] == ["rgb(255, 255, 255)", "rgb(35, 39, 46)"]
        assert colours["dark"] == ["rgb(21, 24, 29)", "rgb(230, 233, 238)"]
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=380, height=800, deviceScaleFactor=1, mobile=False
        )
        assert browser.evaluate("document.documentElement.scrollWidth") <= 380
        pdf = browser.call("Page.printToPDF", printBackground=True)["data"]
        assert len(pdf) > 20_000
        assert browser.problems == []
    finally:
        browser.close()
