"""Plots of a run, as PNG: metrics by epoch, confusion matrix, predictions against targets, importance of columns."""

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
MAX_LABELLED_CLASSES = 20  # with more, the numbers in a confusion matrix cannot be read
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


def plot_confusion_matrix(
    path: Path, *, targets: Array, labels: Array, classes: Sequence[str], split_name: str
) -> None:
    """Plot how often each class (rows) was predicted as each class (columns).

    `targets` and `labels` are class numbers (n,).
    """
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (targets.astype(int), labels), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(2.5 + 0.42 * len(classes), 4.0, 14.0))
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.spines[:].set_visible(False)
    axes.set_xticks(range(len(classes)), classes, rotation=0 if max(map(len, classes)) < 9 else 60)
    axes.set_yticks(range(len(classes)), classes)
    if len(classes) <= MAX_LABELLED_CLASSES:
        for row, column in np.argwhere(counts > 0):
            colour = "white" if shares[row, column] > 0.5 else "black"
            text = str(counts[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    axes.set_title(f"{np.trace(counts):,} of {counts.sum():,} correct ({split_name})")
    figure.savefig(path, dpi=DPI)


def plot_predictions(path: Path, *, targets: Array, predictions: Array, unit: str, split_name: str) -> None:
    """Plot predictions (n,) against targets (n,), and the line on which they are equal."""
    figure = Figure(figsize=(5.2, 5.0), layout="constrained")
    axes = figure.subplots()
    is_small = len(targets) < 500
    style: dict[str, Any] = {"ms": 6, "alpha": 0.7} if is_small else {"ms": 2, "alpha": 0.35}
    axes.plot(targets, predictions, ".", color=TRAINING, **style)
    low = float(min(targets.min(), predictions.min()))
    high = float(max(targets.max(), predictions.max()))
    axes.plot([low, high], [low, high], color=VALIDATION, lw=1.2)
    axes.set_aspect("equal")
    axes.locator_params(nbins=6)
    if high >= 10_000:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(f"actual{f', {unit}' if unit else ''}")
    axes.set_ylabel(f"predicted{f', {unit}' if unit else ''}")
    error = float(np.abs(predictions - targets).mean())
    text = f"{error:,.0f}" if error >= 1000 else f"{error:.4g}"
    axes.set_title(f"mean absolute error {text}{f' {unit}' if unit else ''} ({split_name})")
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
    axes.set_yticks(range(len(shown)), [_shorten(name) for name, _, _ in shown])
    axes.set_xlabel(f"{measure} when the column is shuffled")
    selection = f" (the top {len(shown)} of {total:,})" if total > len(shown) else ""
    axes.set_title(f"importance of columns{selection}")
    figure.savefig(path, dpi=DPI)


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "…"
