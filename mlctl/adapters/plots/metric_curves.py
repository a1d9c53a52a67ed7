"""Image files of metric curves, by Matplotlib."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mlctl.domain.run_queries import Curves
from mlctl.errors import UsageError


def plot_curves(curves: Curves, file: Path) -> None:
    """Write the curves to a file; its extension sets the format (png, svg, pdf)."""
    extension = file.suffix.removeprefix(".").lower()
    if extension not in FigureCanvasAgg.get_supported_filetypes():
        raise UsageError(
            f"{file} does not have the extension of an image format", f"use {file.stem or 'curves'}.png"
        )
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves.curves:
        label = f"{curve.run_name} ({curve.run_id[:8]})"
        axes.plot(curve.steps, curve.values, marker="o", markersize=3, label=label)
    axes.set(xlabel="epoch", ylabel=curves.metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
