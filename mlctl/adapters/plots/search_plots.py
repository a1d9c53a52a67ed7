"""Plots of a search: every trial as a line through its values, and the importance of hyperparameters."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from sklearn.ensemble import ExtraTreesRegressor

from mlctl.adapters.plots import style
from mlctl.adapters.plots.style import BEST, MUTED, NO_CAPTION, TRAINING, Caption, drawing, shorten
from mlctl.domain.objective import Objective
from mlctl.domain.tune import Dimension

MIN_TRIALS = 5  # with fewer, importance is noise
MAX_CHOICES = 14  # that an axis names

Trials = Sequence[tuple[Mapping[str, Any], float]]  # values and score of each trial, best first


def plot_parallel_coordinates(
    path: Path,
    dimensions: Sequence[Dimension],
    trials: Trials,
    objective: Objective,
    *,
    caption: Caption = NO_CAPTION,
) -> None:
    """Plot each trial as a line through its values and its score; the best one, which is the first, is bold."""
    size = (max(6.4, 1.9 * (len(dimensions) + 1)), 4.6)
    if not trials:
        _write_text(path, "no trial has a score", caption)
        return
    scores = np.array([score for _, score in trials])
    low, high = float(scores.min()), float(scores.max())
    norm = Normalize(low, high if high > low else low + 1e-9)
    colours = colormaps["viridis" if objective.maximize else "viridis_r"]
    positions = np.arange(len(dimensions) + 1)
    jitter = np.random.default_rng(0).uniform(-0.012, 0.012, (len(trials), len(dimensions)))
    metric = objective.metric
    title = f"best {metric.replace('_', ' ')} {_format(scores[0], metric)} of {len(trials)} trials, in red"
    with drawing(path, size=size, title=title, caption=caption) as figure:
        axes = figure.subplots()
        for number, (values, score) in enumerate(trials):
            heights = [
                _height(dimension, _value(dimension, values)) + jitter[number, column]
                for column, dimension in enumerate(dimensions)
            ]
            look: dict[str, Any] = {"color": colours(norm(score)), "lw": 1.1, "alpha": 0.75}
            if number == 0:
                look = {"color": BEST, "lw": 2.6, "zorder": 3}
            axes.plot(positions, [*heights, float(norm(score))], "-o", ms=3, **look)
        box = {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 0.8}
        for position, dimension in enumerate(dimensions):
            axes.axvline(position, color=MUTED, lw=0.6, zorder=0)
            for height, text in _ticks(dimension):
                text = shorten(text, 16)
                axes.text(position + 0.03, height, text, fontsize=8, va="center", zorder=4, bbox=box)
        names = [textwrap.fill(dimension.name.replace("_", " "), 16) for dimension in dimensions]
        axes.set_xticks(positions, [*names, textwrap.fill(metric.replace("_", " "), 16)])
        axes.set_yticks([])
        axes.set_ylim(-0.06, 1.06)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(
            ScalarMappable(norm, colours), ax=axes, label=metric.replace("_", " "), pad=0.02
        )
        style.format_axis(bar.ax.yaxis, metric, scores.tolist())


def plot_hyperparameter_importance(
    path: Path,
    dimensions: Sequence[Dimension],
    trials: Trials,
    objective: Objective,
    *,
    caption: Caption = NO_CAPTION,
) -> None:
    """Plot how much of the score's variance each hyperparameter explains, by a forest fitted to the trials."""
    if len(trials) < MIN_TRIALS:
        text = f"too few trials with a score ({len(trials)})\nto estimate importance"
        _write_text(path, text, caption)
        return
    inputs = np.array(
        [[_height(dimension, _value(dimension, values)) for dimension in dimensions] for values, _ in trials]
    )
    forest = ExtraTreesRegressor(200, random_state=0).fit(inputs, [score for _, score in trials])
    order = np.argsort(forest.feature_importances_)
    shares = forest.feature_importances_[order]
    names = [dimensions[number].name.replace("_", " ") for number in order]
    title = f"share of {objective.metric.replace('_', ' ')} explained by each value, {len(trials)} trials"
    with drawing(path, size=(6.4, 1.7 + 0.36 * len(dimensions)), title=title, caption=caption) as figure:
        axes = figure.subplots()
        axes.barh(range(len(names)), shares, color=TRAINING, height=0.6)
        style.name_ticks(axes.yaxis, names)
        for row, share in enumerate(shares):
            axes.text(share + 0.01, row, f"{share:.0%}", va="center", fontsize=9)
        axes.set_xlim(0, 1.1)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)


def _value(dimension: Dimension, values: Mapping[str, Any]) -> Any:
    """Return a trial's value of a dimension: the default if it does not count in this trial."""
    return values.get(dimension.name, dimension.default)


def _height(dimension: Dimension, value: Any) -> float:
    """Return the position of a value on its axis, from 0 to 1."""
    low, high = dimension.low, dimension.high
    if dimension.choices:
        return dimension.choices.index(value) / max(1, len(dimension.choices) - 1)
    if dimension.log:
        return float(np.log(value / low) / np.log(high / low))
    return float((value - low) / (high - low))


def _ticks(dimension: Dimension) -> list[tuple[float, str]]:
    low, high = dimension.low, dimension.high
    if dimension.choices:
        step = -(-len(dimension.choices) // MAX_CHOICES)
        return [(_height(dimension, choice), str(choice)) for choice in dimension.choices[::step]]
    middle = (low * high) ** 0.5 if dimension.log else (low + high) / 2
    return [(_height(dimension, value), f"{value:.3g}") for value in (low, middle, high)]


def _format(value: float, metric: str) -> str:
    return style.format_value(float(value), metric)


def _write_text(path: Path, text: str, caption: Caption) -> None:
    with drawing(path, size=(6.4, 1.8), title="", caption=caption) as figure:
        axes = figure.subplots()
        axes.text(0.5, 0.5, text, ha="center", va="center")
        axes.set_axis_off()
