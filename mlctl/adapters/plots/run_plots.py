"""Plots of a run: metrics by epoch, and the importance of columns."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mlctl.adapters.plots import style
from mlctl.adapters.plots.style import MUTED, NO_CAPTION, TRAINING, VALIDATION, Caption

MAX_COLUMNS = 20

Array = np.ndarray[Any, Any]


def plot_metric(
    target: Path | io.BytesIO,
    metric: str,
    histories: Mapping[str, Sequence[float]],
    *,
    best_epoch: int | None = None,
    unit: str = "",
    x_label: str = "epoch",
    caption: Caption = NO_CAPTION,
) -> None:
    """Plot a metric's training and validation values by epoch, and mark the epoch whose weights are kept."""
    lines = {"training": histories.get(metric, ()), "validation": histories.get(f"val_{metric}", ())}
    values = [value for line in lines.values() for value in line]
    name = metric.replace("_", " ")
    title = f"{name} by {x_label}"
    # of one epoch alone there is no best one
    best_epoch = best_epoch if max(map(len, lines.values())) > 1 else None
    if best_epoch is not None and best_epoch <= len(lines["validation"]):
        value = style.format_value(lines["validation"][best_epoch - 1], metric, unit)
        title = f"validation {name} {value} in the kept epoch {best_epoch}"
    with style.drawing(target, size=(6.4, 4.0), title=title, caption=caption) as figure:
        axes = figure.subplots()
        for (label, line), colour in zip(lines.items(), (TRAINING, VALIDATION), strict=True):
            if len(line):
                marker = "o-" if len(line) <= 60 else "-"
                axes.plot(np.arange(1, len(line) + 1), line, marker, ms=3, label=label, color=colour)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=MUTED, lw=1, ls=":", label=f"kept epoch: {best_epoch}")
        axes.set_xlabel(x_label)
        axes.set_ylabel(f"{name}, {unit}" if unit else name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if max(map(len, lines.values())) == 1:
            axes.set_xticks([1])
        style.format_axis(axes.yaxis, metric, values)
        axes.grid(axis="y")
        axes.legend()


def plot_column_importance(
    target: Path | io.BytesIO,
    columns: Sequence[tuple[str, float, float]],
    *,
    measure: str,
    total: int,
    caption: Caption = NO_CAPTION,
) -> None:
    """Plot the importance of the first twenty columns.

    Args:
        target: image file, or a buffer for SVG.
        columns: (name, importance, deviation), most important first.
        measure: what importance means, such as "accuracy lost".
        total: number of columns of the table.
        caption: what the plot is of.
    """
    shown = list(columns[:MAX_COLUMNS])[::-1]
    selection = f" (the top {len(shown)} of {total:,})" if total > len(shown) else ""
    size = (6.4, 1.5 + 0.28 * len(shown))
    with style.drawing(
        target, size=size, title=f"importance of columns{selection}", caption=caption
    ) as figure:
        axes = figure.subplots()
        axes.barh(
            range(len(shown)),
            [importance for _, importance, _ in shown],
            xerr=[deviation for _, _, deviation in shown],
            color=TRAINING,
            ecolor=MUTED,
        )
        style.name_ticks(axes.yaxis, [name for name, _, _ in shown])
        style.format_axis(axes.xaxis, measure.split()[0], [importance for _, importance, _ in shown])
        if measure.startswith("accuracy"):
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        axes.set_xlabel(textwrap.fill(f"{measure} when the column is shuffled", 44))
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="x")
