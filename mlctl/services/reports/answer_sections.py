"""The sections of a model's answers, from a run's evaluation.json: plots, and the most wrong examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlctl.domain.report import (
    ReportBlock,
    ReportExample,
    ReportGallery,
    ReportPlot,
    ReportSection,
    ReportTable,
    ReportText,
)
from mlctl.services.reports import plots
from mlctl.services.reports.texts import number

PARTS = {"pixels": "pixels", "sequence": "steps"}  # of a row that has a class for each


def answer_sections(evaluation: Mapping[str, Any]) -> Iterator[ReportSection]:
    """Yield the sections of each output: its confusions or values, its probabilities, and its worst examples."""
    outputs = evaluation["outputs"]
    rows = f"{evaluation.get('rows', 0):,} rows of the {evaluation.get('split', '')} split"
    rows += ", synthetic data" if evaluation.get("synthetic") else ""
    for output in outputs:
        suffix = f" of {output['name']}" if len(outputs) > 1 else ""
        found: list[ReportPlot] = []
        if output.get("confusions"):
            found.append(plots.confusion_plot(output))
        if output.get("values"):
            found += plots.value_plots(output)
        if output.get("curves"):
            found.append(plots.probability_plot(output))
        missing = f"nothing can be drawn for {output['kind']} of this shape"
        blocks: list[ReportBlock] = (
            [ReportText(text=f"Answers of the logged model to {rows}."), *found] if found else []
        )
        yield ReportSection(title=f"Answers{suffix}", blocks=blocks, missing=missing)
        yield _worst(output, suffix)


def _worst(output: Mapping[str, Any], suffix: str) -> ReportSection:
    examples = [
        ReportExample(lines=list(_example_lines(entry, output)), input=entry.get("input", {}))
        for entry in output.get("worst", ())
    ]
    blocks: list[ReportBlock] = []
    if examples and all("row" in example.input for example in examples):
        names = dict.fromkeys(name for example in examples for name in example.input["row"])
        rows = [
            (*(text for _, text in example.lines), *(example.input["row"].get(name, "") for name in names))
            for example in examples
        ]
        titles = [name for name, _ in examples[0].lines]
        blocks = [ReportTable(columns=(*titles, *names), rows=rows)]
    elif examples:
        blocks = [ReportGallery(examples)]
    return ReportSection(title=f"Most wrong examples{suffix}", blocks=blocks, missing="no row is wrong")


def _example_lines(entry: Mapping[str, Any], output: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    unit = f" {output['unit']}" if output.get("unit") else ""
    if "predicted" in entry:
        sure = f" ({entry['probability']:.1%})" if entry.get("probability") is not None else ""
        chance = entry.get("actual_probability")
        yield "predicted", f"{entry['predicted']}{unit}{sure}"
        yield "actual", f"{entry['actual']}{unit}" + (f" ({chance:.1%})" if chance is not None else "")
    if output["kind"] in PARTS:
        yield "wrong", f"{entry['error']:.1%} of the {PARTS[output['kind']]}"
    elif "probability" not in entry:
        yield "error", f"{number(entry['error'])}{unit}"
    yield "row", str(entry["row"])
