"""Plots of a run, as PNG: metrics by epoch, and the importance of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

TRAINING, VALIDATION, NEUTRAL = "#3b6fb6", "#d9722e", "#8a8f98"  # colours
DPI = 110
MAX_COLUMNS, MAX_NAME_LENGTH = 20, 32
mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10})

Array = np.ndarray[Any, Any]


def plot_metric(
    path: Path, metric: str, histories: Mapping[str, Sequence[float]], *, best_epoch: int, synthetic: bool
) -> None:
    """Plot a metric's training and validation values by epoch, and mark the epoch whose weights are kept."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, label, colour in ((metric, "training", TRAINING), (f"val_{metric}", "validation", VALIDATION)):
        values = histories.get(name)
        if values:
            axes.plot(np.arange(1, len(values) + 1), values, "o-", ms=3, label=label, color=colour)
    axes.axvline(best_epoch, color=NEUTRAL, lw=1, ls=":", label=f"best epoch: {best_epoch}")
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(metric.replace("_", " ") + " by epoch" + (" (synthetic data)" if synthetic else ""))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=DPI)


def plot_column_importance(
    path: Path, columns: Sequence[tuple[str, float, float]], *, measure: str, total: int
) -> None:
    """Plot the importance of the first twenty columns.

    Args:
        path: image file.
        columns: (name, importance, deviation), most important first.
        measure: what importance means, such as "accuracy lost".
        total: number of columns of the table.
    """
    shown = list(columns[:MAX_COLUMNS])[::-1]
    figure = Figure(figsize=(6.4, 1.2 + 0.28 * len(shown)), layout="constrained")
    axes = figure.subplots()
    axes.barh(
        range(len(shown)),
        [importance for _, importance, _ in shown],
        xerr=[deviation for _, _, deviation in shown],
        color=TRAINING,
        ecolor=NEUTRAL,
    )
    axes.set_yticks(range(len(shown)), [shorten(name) for name, _, _ in shown])
    axes.set_xlabel(f"{measure} when the column is shuffled")
    selection = f" (the top {len(shown)} of {total:,})" if total > len(shown) else ""
    axes.set_title(f"importance of columns{selection}")
    figure.savefig(path, dpi=DPI)


def shorten(name: str) -> str:
    """Return a name as plots show it: the end of a long one is left out."""
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "…"
