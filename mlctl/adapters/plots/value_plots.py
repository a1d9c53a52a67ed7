"""Plots of predicted values against the actual ones."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlctl.adapters.plots import style
from mlctl.adapters.plots.style import NO_CAPTION, TRAINING, VALIDATION, Caption, drawing

MAX_POINTS = 20_000  # of a plot

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class ValueColumn:
    """Actual and predicted values, all or a sample of them, and what the absolute errors of all rows are."""

    actual: Array
    predicted: Array
    mean_error: float
    median_error: float


def value_column(actual: Array, predicted: Array) -> ValueColumn:
    """Return a column with its errors; of many rows it has a sample."""
    errors = np.abs(predicted.astype(np.float64) - actual)
    shown = np.arange(len(actual))
    if len(shown) > MAX_POINTS:
        shown = np.random.default_rng(0).choice(len(shown), MAX_POINTS, replace=False)
    return ValueColumn(
        actual=actual[shown],
        predicted=predicted[shown],
        mean_error=float(errors.mean()),
        median_error=float(np.median(errors)),
    )


def plot_values(
    target: Path | io.BytesIO,
    columns: Sequence[ValueColumn],
    *,
    unit: str = "",
    caption: Caption = NO_CAPTION,
) -> None:
    """Plot predictions against targets, and the line on which they are equal."""
    count = len(columns)
    across = min(3, count)
    down = -(-count // across)
    size = (5.4, 5.3) if count == 1 else (4.0 * across, 4.0 * down + 0.5)
    errors = [style.format_value(column.mean_error, unit=unit) for column in columns]
    title = f"mean absolute error {errors[0]}" if count == 1 else "predicted and actual values"
    with drawing(target, size=size, title=title, caption=caption) as figure:
        panels = figure.subplots(down, across, squeeze=False).reshape(-1)
        for axes in panels[count:]:
            axes.set_axis_off()
        for number, (axes, column) in enumerate(zip(panels, columns, strict=False)):
            _scatter(axes, column.actual, column.predicted, unit)
            if count > 1:
                axes.set_title(f"column {number}: mean error {errors[number]}")


def plot_residuals(
    target: Path | io.BytesIO,
    column: ValueColumn,
    *,
    unit: str = "",
    caption: Caption = NO_CAPTION,
) -> None:
    """Plot how the errors of a column are distributed, and how they depend on the prediction."""
    predicted = column.predicted
    errors = predicted - column.actual
    title = f"half of the errors are below {style.format_value(column.median_error, unit=unit)}"
    with drawing(target, size=(8.4, 3.8), title=title, caption=caption) as figure:
        left, right = figure.subplots(1, 2)
        left.hist(errors, bins=min(50, max(10, len(errors) // 20)), color=TRAINING)
        left.axvline(0, color=VALIDATION, lw=1.2)
        left.set_xlabel(f"predicted minus actual{f', {unit}' if unit else ''}")
        left.set_ylabel("rows")
        right.plot(predicted, errors, ".", color=TRAINING, ms=4, alpha=0.5, rasterized=len(errors) > 300)
        right.axhline(0, color=VALIDATION, lw=1.2)
        right.set_xlabel(f"predicted{f', {unit}' if unit else ''}")
        right.set_ylabel("predicted minus actual")
        for axes in (left, right):
            axes.locator_params(nbins=5)
            axes.grid(axis="y")
        for axis in (left.xaxis, right.xaxis, right.yaxis):
            style.format_axis(axis, "", [*errors, *predicted])


def plot_row_errors(path: Path, targets: Array, answers: Array, unit: str, caption: Caption) -> None:
    """Plot how large the mean absolute error of each row is, for targets of many numbers."""
    errors = np.empty(len(targets))
    answers = answers.reshape(targets.shape)
    for row in range(len(targets)):
        errors[row] = np.abs(answers[row].astype(np.float64) - targets[row]).mean()
    title = f"mean absolute error {style.format_value(float(errors.mean()), unit=unit)}"
    with drawing(path, size=(6.4, 4.0), title=title, caption=caption) as figure:
        axes = figure.subplots()
        axes.hist(errors, bins=min(50, max(10, len(errors) // 20)), color=TRAINING)
        axes.axvline(float(errors.mean()), color=VALIDATION, lw=1.2, label="mean")
        axes.set_xlabel(f"mean absolute error of a row{f', {unit}' if unit else ''}")
        axes.set_ylabel("rows")
        axes.legend()


def _scatter(axes: Any, targets: Array, predictions: Array, unit: str) -> None:
    is_small = len(targets) < 500
    look: dict[str, Any] = {"ms": 6, "alpha": 0.7} if is_small else {"ms": 3, "alpha": 0.4}
    axes.plot(targets, predictions, ".", color=TRAINING, rasterized=not is_small, **look)
    low = float(min(targets.min(), predictions.min()))
    high = float(max(targets.max(), predictions.max()))
    axes.plot([low, high], [low, high], color=VALIDATION, lw=1.2)
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    for axis in (axes.xaxis, axes.yaxis):
        style.format_axis(axis, "", [low, high])
    axes.set_xlabel(f"actual{f', {unit}' if unit else ''}")
    axes.set_ylabel(f"predicted{f', {unit}' if unit else ''}")
    axes.grid()
