"""The style of every plot: fonts, colours, title and caption; as PNG and SVG files, and inline in an HTML page."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import colormaps
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

DPI = 200  # of PNG files
TRAINING, VALIDATION = "#3b74c0", "#d9722e"
INK, MUTED, GRID, BEST = "#23272e", "#7b828c", "#d5d9df", "#c8321e"
MAX_NAME_LENGTH = 32
MAX_TICKS = 40  # names along an axis: with more, only some are written
SHARES = {"accuracy", "precision", "recall", "f1", "auc", "iou", "dice", "match"}  # written as percentages
# a page replaces these colours by its own variables, so that a plot fits a dark page, too
PAGE_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)"}
RC = {
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "mlctl",
}


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What a plot is of, written below it: the run, its recipe, and anything else, such as the split."""

    run_name: str = ""
    recipe: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The caption as one line."""
        return " · ".join(part for part in (self.run_name, self.recipe, self.note) if part)


NO_CAPTION = Caption()


@contextmanager
def drawing(
    target: Path | io.BytesIO,
    *,
    size: tuple[float, float],
    title: str,
    caption: Caption = NO_CAPTION,
    only: bool = False,
) -> Iterator[Figure]:
    """Yield a figure to draw on, and write it when the block ends.

    Args:
        target: a .png file, beside which the same plot is written as .svg; or a buffer, which gets the SVG.
        size: width and height in inches.
        title: the plot's message, at its top left.
        caption: what the plot is of.
        only: write this file only, in the format of its extension.
    """
    with mpl.rc_context(RC):  # a script's own plots keep their style
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        yield figure
        wrap = int(size[0] * 12)  # characters of ten points that fit
        figure.suptitle(textwrap.fill(title, wrap), x=0.012, ha="left", fontsize=11, fontweight="bold")
        if caption.text:
            text = textwrap.fill(caption.text, int(size[0] * 15))
            figure.supxlabel(text, x=0.012, ha="left", fontsize=8, color=MUTED)
        _write(figure, target, only)


def plot_files(name: str) -> list[str]:
    """Return the names of the two files of a plot that is written to a .png file."""
    return [name, f"{name.removesuffix('.png')}.svg"]


def inline_svg(buffer: io.BytesIO, label: str) -> str:
    """Return a drawn SVG as an element of an HTML page, in the page's colours."""
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z][A-Za-z.]*\d*_\d+"', "", text)  # the same in every plot of the page
    for colour, variable in PAGE_COLOURS.items():
        text = text.replace(colour, variable)
    width = re.search(r'viewBox="0 0 ([\d.]+)', text)
    style = f"max-width:{float(width[1]) * 4 / 3:.0f}px" if width else ""
    head = f'<svg role="img" aria-label="{_escape(label)}" style="{style}"'
    return re.sub(r'<svg( width="[^"]*"| height="[^"]*")?', head, text, count=1).replace(
        ' width="100%"', "", 1
    )


def shorten(name: str, length: int = MAX_NAME_LENGTH) -> str:
    """Return a name as plots show it: the middle of a long one is left out, because names often differ at the end."""
    name = " ".join(str(name).split())
    if len(name) <= length:
        return name
    tail = length // 3
    return f"{name[: length - tail - 1]}…{name[-tail:]}"


def colour_of(number: int) -> Any:
    """Return the colour of a curve by its number: the first two are those of training and validation."""
    return (TRAINING, VALIDATION, *(colormaps["Dark2"](place) for place in (0, 3, 5, 4, 6, 7)), *_MORE)[
        number % (8 + len(_MORE))
    ]


_MORE = tuple(colormaps["tab20"](place) for place in range(20))


def name_ticks(axis: Axis, names: Sequence[str], *, room: float | None = None) -> None:
    """Write names at 0, 1, …; if there are too many, only some of them.

    `room` is the length in inches of an axis below a plot: names that are too long for it are turned.
    """
    step = -(-len(names) // MAX_TICKS)
    texts = [shorten(name) for name in names[::step]]
    options: dict[str, Any] = {}
    if room is not None and max(map(len, texts), default=0) * len(texts) > room * 10:  # characters to an inch
        options = {"rotation": 50, "ha": "right", "rotation_mode": "anchor"}
    axis.set_ticks(range(0, len(names), step), texts, **options)
    axis.set_tick_params(length=0)


def format_axis(axis: Axis, metric: str, values: Sequence[float]) -> None:
    """Write shares as percentages, and large numbers with separators."""
    finite = [value for value in values if value == value and abs(value) != float("inf")]
    if is_share(metric) and finite and min(finite) >= 0 and max(finite) <= 1:
        decimals = 1 if max(finite) - min(finite) < 0.05 else 0
        axis.set_major_formatter(PercentFormatter(1, decimals=decimals))
    elif finite and max(map(abs, finite)) >= 10_000:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def is_share(metric: str) -> bool:
    """Whether a metric is a share of 1, which people read as a percentage."""
    return not SHARES.isdisjoint(metric.split("_"))


def format_value(value: float, metric: str = "", unit: str = "") -> str:
    """Return a number as titles and labels show it."""
    if is_share(metric) and 0 <= value <= 1:
        return f"{value:.1%}"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{text} {unit}".strip()


def put_legend(axes: Any, count: int) -> None:
    """Show the legend: in the plot if it has few lines, else beside it, where it hides nothing."""
    if count <= 3:
        axes.legend()
    else:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def _write(figure: Figure, target: Path | io.BytesIO, only: bool) -> None:
    no_date: dict[str, Any] = {"metadata": {"Date": None, "Creator": None}}
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)
    figure.set_layout_engine(None)  # everything has its place now: `savefig` would draw twice to find it
    if isinstance(target, io.BytesIO):
        figure.savefig(target, format="svg", transparent=True, **no_date)
        return
    figure.savefig(target)
    if not only:
        figure.savefig(target.with_suffix(".svg"), **no_date)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
