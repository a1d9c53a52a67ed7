"""Pictures of curves, by matplotlib."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mlctl.domain.run_queries import Curves
from mlctl.errors import UsageError


def draw(curves: Curves, file: Path) -> None:
    """Write the curves to `file`, whose ending says the format (png, svg, pdf)."""
    ending = file.suffix.removeprefix(".").lower()
    known = FigureCanvasAgg.get_supported_filetypes()
    if ending not in known:
        raise UsageError(f"{file} has no known ending for a picture", f"name it {file.stem or 'curves'}.png")
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for one in curves.curves:
        axes.plot(one.steps, one.values, marker="o", markersize=3, label=f"{one.run_name} ({one.run_id[:8]})")
    axes.set(xlabel="epoch", ylabel=curves.metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
