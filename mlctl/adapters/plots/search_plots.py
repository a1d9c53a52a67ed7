"""The pictures of a search: every trial as a line through its values, and which hyperparameter mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from sklearn.ensemble import ExtraTreesRegressor

from mlctl.adapters.plots.run_plots import QUIET, TRAINING
from mlctl.domain.objective import Objective
from mlctl.domain.tune import Dimension

Rows = Sequence[tuple[Mapping[str, Any], float]]
FEWEST = 5  # trials, below which importance would be noise
BEST = "#c2361f"


def parallel_coordinates(
    path: Path, dimensions: Sequence[Dimension], rows: Rows, objective: Objective
) -> None:
    """Draw each trial as a line through its values and its score; the best is drawn bold."""
    figure = Figure(figsize=(max(5.5, 1.9 * (len(dimensions) + 1)), 4.4), layout="constrained")
    axes = figure.subplots()
    if not rows:
        _say(axes, "no trial gave a score")
        figure.savefig(path, dpi=110)
        return
    found = np.array([score for _, score in rows])
    low, high = float(found.min()), float(found.max())
    norm = Normalize(low, high if high > low else low + 1e-9)
    colours = colormaps["viridis" if objective.maximize else "viridis_r"]
    places = np.arange(len(dimensions) + 1)
    best = int(found.argmax() if objective.maximize else found.argmin())
    jitter = np.random.default_rng(0).uniform(-0.012, 0.012, (len(rows), len(dimensions)))
    for number, (values, score) in enumerate(rows):
        heights = [_height(one, values[one.name]) for one in dimensions] + [float(norm(score))]
        heights[:-1] = [h + j for h, j in zip(heights[:-1], jitter[number], strict=True)]
        style: dict[str, Any] = (
            {"color": BEST, "lw": 2.6, "zorder": 3} if number == best
            else {"color": colours(norm(score)), "lw": 1.1, "alpha": 0.75}
        )  # fmt: skip
        axes.plot(places, heights, "-o", ms=3, **style)
    for place, one in enumerate(dimensions):
        axes.axvline(place, color=QUIET, lw=0.6, zorder=0)
        for height, text in _ticks(one):
            axes.text(place + 0.03, height, text, fontsize=8, va="center", zorder=4,
                      bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.8})  # fmt: skip
    axes.set_xticks(places, [*(one.name.replace("_", " ") for one in dimensions), objective.metric])
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.06)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{len(rows)} trials, best {objective.metric} {_figure(found[best])} in red")
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=objective.metric, pad=0.02)
    figure.savefig(path, dpi=110)


def importance(path: Path, dimensions: Sequence[Dimension], rows: Rows, objective: Objective) -> None:
    """Draw how much of the score's spread each hyperparameter explains, by a forest fitted to the trials."""
    figure = Figure(figsize=(6.0, 1.4 + 0.42 * len(dimensions)), layout="constrained")
    axes = figure.subplots()
    if len(rows) < FEWEST:
        _say(axes, f"{len(rows)} trials with a score: too few to tell what matters")
        figure.savefig(path, dpi=110)
        return
    inputs = np.array([[_height(one, values[one.name]) for one in dimensions] for values, _ in rows])
    forest = ExtraTreesRegressor(200, random_state=0).fit(inputs, [score for _, score in rows])
    order = np.argsort(forest.feature_importances_)
    shares = forest.feature_importances_[order]
    names = [dimensions[i].name.replace("_", " ") for i in order]
    axes.barh(names, shares, color=TRAINING, height=0.6)
    for row, share in enumerate(shares):
        axes.text(share + 0.01, row, f"{share:.0%}", va="center", fontsize=9)
    axes.set_xlim(0, 1.1)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title(f"share of {objective.metric} explained, {len(rows)} trials")
    figure.savefig(path, dpi=110)


def _height(one: Dimension, value: Any) -> float:
    """Return where a value stands on its axis, 0 to 1."""
    if one.choices:
        return one.choices.index(value) / max(1, len(one.choices) - 1)
    if one.log:
        return float(np.log(value / one.low) / np.log(one.high / one.low))
    return float((value - one.low) / (one.high - one.low))


def _ticks(one: Dimension) -> list[tuple[float, str]]:
    if one.choices:
        return [(_height(one, choice), str(choice)) for choice in one.choices]
    middle = (one.low * one.high) ** 0.5 if one.log else (one.low + one.high) / 2
    return [(_height(one, value), f"{value:.3g}") for value in (one.low, middle, one.high)]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center")
    axes.set_axis_off()
