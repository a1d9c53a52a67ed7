"""Image files of one metric's curves for several runs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.ticker import MaxNLocator

from mlctl.adapters.plots import style
from mlctl.domain.run_queries import Curves
from mlctl.errors import UsageError

MAX_LABELS = 30  # runs that the legend names


def plot_curves(curves: Curves, target: Path | io.BytesIO) -> None:
    """Write the curves to a file; its extension sets the format (png, svg, pdf). A buffer gets SVG."""
    if isinstance(target, Path):
        extension = target.suffix.removeprefix(".").lower()
        if extension not in FigureCanvasAgg.get_supported_filetypes():
            raise UsageError(
                f"{target} does not have the extension of an image format",
                f"use {target.stem or 'curves'}.png",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
    runs = curves.curves
    name = curves.metric.replace("_", " ")
    x_label = "epoch" if all(curve.recipe for curve in runs) else "step"  # of another program's run
    caption = style.Caption(run_name=runs[0].run_name, recipe=runs[0].recipe) if len(runs) == 1 else None
    with style.drawing(
        target,
        size=(8, max(5.0, 1.5 + 0.22 * min(len(runs), MAX_LABELS))),
        title=f"{name} by {x_label}" + (f" of {len(runs)} runs" if len(runs) > 1 else ""),
        caption=caption or style.NO_CAPTION,
        only=True,
    ) as figure:
        axes = figure.add_subplot()
        label_of = _labels(curves)
        for number, curve in enumerate(runs):
            label = label_of(number) if number < MAX_LABELS else None
            marker = "o-" if len(curve.steps) <= 60 else "-"
            axes.plot(curve.steps, curve.values, marker, ms=3, label=label, color=style.colour_of(number))
        axes.set(xlabel=x_label, ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        style.format_axis(axes.yaxis, curves.metric, [value for curve in runs for value in curve.values])
        axes.grid(axis="y")
        if len(runs) > 1:
            hidden = len(runs) - MAX_LABELS
            if hidden > 0:
                axes.plot([], [], " ", label=f"and {hidden} more runs")
            style.put_legend(axes, len(runs))


def _labels(curves: Curves) -> Callable[[int], str]:
    """Return what names each run: its name, with its id if two runs have the same name."""
    names = [curve.run_name for curve in curves.curves]

    def label(number: int) -> str:
        curve = curves.curves[number]
        is_unique = names.count(curve.run_name) == 1 and curve.run_name
        return (
            style.shorten(curve.run_name)
            if is_unique
            else f"{style.shorten(curve.run_name)} {curve.run_id[:8]}"
        )

    return label
