"""The pictures of a run, as PNG: curves by epoch, what was confused with what, predicted against actual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Array = np.ndarray[Any, Any]

TRAINING, VALIDATION, QUIET = "#3b6fb6", "#d9722e", "#8a8f98"
mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10})


def curves(
    path: Path, metric: str, histories: Mapping[str, Sequence[float]], best: int, synthetic: bool
) -> None:
    """Draw a metric's training and validation values by epoch, the kept epoch marked."""
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    for name, label, colour in ((metric, "training", TRAINING), (f"val_{metric}", "validation", VALIDATION)):
        values = histories.get(name)
        if values:
            axes.plot(np.arange(1, len(values) + 1), values, "o-", ms=3, label=label, color=colour)
    axes.axvline(best, color=QUIET, lw=1, ls=":", label=f"kept: epoch {best}")
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(metric.replace("_", " ") + " by epoch" + (" (synthetic data)" if synthetic else ""))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def confusion(path: Path, targets: Array, labels: Array, classes: Sequence[str], split: str) -> None:
    """Draw how often each class (rows) was taken for each (columns)."""
    count = np.zeros((len(classes), len(classes)), int)
    np.add.at(count, (targets.astype(int), labels), 1)
    share = count / np.maximum(count.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.5 + 0.42 * len(classes), 4.0, 14.0))
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(classes)), classes, rotation=0 if max(map(len, classes)) < 9 else 60)
    axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= 20:
        for row, column in np.argwhere(count > 0):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(
                column, row, str(count[row, column]), ha="center", va="center", color=colour, fontsize=9
            )
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    axes.set_title(f"{np.trace(count):,} of {count.sum():,} right ({split})")
    figure.savefig(path, dpi=110)


def predicted_against_actual(path: Path, targets: Array, values: Array, unit: str, split: str) -> None:
    """Draw each prediction over its true value, and the line on which all should lie."""
    figure = Figure(figsize=(5.2, 5.0), layout="constrained")
    axes = figure.subplots()
    few = len(targets) < 500
    axes.plot(targets, values, ".", ms=6 if few else 2, alpha=0.7 if few else 0.35, color=TRAINING)
    low, high = float(min(targets.min(), values.min())), float(max(targets.max(), values.max()))
    axes.plot([low, high], [low, high], color=VALIDATION, lw=1.2)
    axes.set_aspect("equal")
    axes.locator_params(nbins=6)
    if high >= 10_000:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(f"actual{f', {unit}' if unit else ''}")
    axes.set_ylabel(f"predicted{f', {unit}' if unit else ''}")
    error = float(np.abs(values - targets).mean())
    said = f"{error:,.0f}" if error >= 1000 else f"{error:.4g}"
    axes.set_title(f"mean absolute error {said}{f' {unit}' if unit else ''} ({split})")
    figure.savefig(path, dpi=110)


def importance(path: Path, columns: Sequence[tuple[str, float, float]], words: str, count: int) -> None:
    """Draw the worth of the twenty foremost of `count` columns, (name, worth, spread), greatest first."""
    shown = list(columns[:20])[::-1]
    figure = Figure(figsize=(6.4, 1.2 + 0.28 * len(shown)), layout="constrained")
    axes = figure.subplots()
    names = [name if len(name) <= 32 else name[:31] + "…" for name, _, _ in shown]
    axes.barh(
        range(len(shown)), [worth for _, worth, _ in shown], xerr=[spread for _, _, spread in shown],
        color=TRAINING, ecolor=QUIET,
    )  # fmt: skip
    axes.set_yticks(range(len(shown)), names)
    axes.set_xlabel(f"{words} when the column is shuffled")
    foremost = f" (the foremost of {count:,})" if count > len(shown) else ""
    axes.set_title(f"importance of columns{foremost}")
    figure.savefig(path, dpi=110)
