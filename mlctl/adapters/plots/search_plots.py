"""Plots of a search: every trial as a line through its values, and the importance of hyperparameters."""

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

from mlctl.adapters.plots.run_plots import DPI, NEUTRAL, TRAINING
from mlctl.domain.objective import Objective
from mlctl.domain.tune import Dimension

MIN_TRIALS = 5  # with fewer, importance is noise
BEST = "#c2361f"  # colour

Trials = Sequence[tuple[Mapping[str, Any], float]]  # values and score of each trial


def plot_parallel_coordinates(
    path: Path, dimensions: Sequence[Dimension], trials: Trials, objective: Objective
) -> None:
    """Plot each trial as a line through its values and its score; the best one is bold."""
    figure = Figure(figsize=(max(5.5, 1.9 * (len(dimensions) + 1)), 4.4), layout="constrained")
    axes = figure.subplots()
    if not trials:
        _show_text(axes, "no trial has a score")
        figure.savefig(path, dpi=DPI)
        return
    scores = np.array([score for _, score in trials])
    low, high = float(scores.min()), float(scores.max())
    norm = Normalize(low, high if high > low else low + 1e-9)
    colours = colormaps["viridis" if objective.maximize else "viridis_r"]
    positions = np.arange(len(dimensions) + 1)
    best = int(scores.argmax() if objective.maximize else scores.argmin())
    jitter = np.random.default_rng(0).uniform(-0.012, 0.012, (len(trials), len(dimensions)))
    for number, (values, score) in enumerate(trials):
        heights = [
            _height(dimension, _value(dimension, values)) + jitter[number, column]
            for column, dimension in enumerate(dimensions)
        ]
        style: dict[str, Any] = {"color": colours(norm(score)), "lw": 1.1, "alpha": 0.75}
        if number == best:
            style = {"color": BEST, "lw": 2.6, "zorder": 3}
        axes.plot(positions, [*heights, float(norm(score))], "-o", ms=3, **style)
    box = {"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.8}
    for position, dimension in enumerate(dimensions):
        axes.axvline(position, color=NEUTRAL, lw=0.6, zorder=0)
        for height, text in _ticks(dimension):
            axes.text(position + 0.03, height, text, fontsize=8, va="center", zorder=4, bbox=box)
    names = [dimension.name.replace("_", " ") for dimension in dimensions]
    axes.set_xticks(positions, [*names, objective.metric])
    axes.set_yticks([])
    axes.set_ylim(-0.06, 1.06)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{len(trials)} trials, best {objective.metric} {_format(scores[best])} in red")
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=objective.metric, pad=0.02)
    figure.savefig(path, dpi=DPI)


def plot_hyperparameter_importance(
    path: Path, dimensions: Sequence[Dimension], trials: Trials, objective: Objective
) -> None:
    """Plot how much of the score's variance each hyperparameter explains, by a forest fitted to the trials."""
    figure = Figure(figsize=(6.0, 1.4 + 0.42 * len(dimensions)), layout="constrained")
    axes = figure.subplots()
    if len(trials) < MIN_TRIALS:
        _show_text(axes, f"too few trials with a score ({len(trials)}) to estimate importance")
        figure.savefig(path, dpi=DPI)
        return
    inputs = np.array(
        [[_height(dimension, _value(dimension, values)) for dimension in dimensions] for values, _ in trials]
    )
    forest = ExtraTreesRegressor(200, random_state=0).fit(inputs, [score for _, score in trials])
    order = np.argsort(forest.feature_importances_)
    shares = forest.feature_importances_[order]
    names = [dimensions[number].name.replace("_", " ") for number in order]
    axes.barh(names, shares, color=TRAINING, height=0.6)
    for row, share in enumerate(shares):
        axes.text(share + 0.01, row, f"{share:.0%}", va="center", fontsize=9)
    axes.set_xlim(0, 1.1)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_title(f"share of {objective.metric} explained, {len(trials)} trials")
    figure.savefig(path, dpi=DPI)


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
        return [(_height(dimension, choice), str(choice)) for choice in dimension.choices]
    middle = (low * high) ** 0.5 if dimension.log else (low + high) / 2
    return [(_height(dimension, value), f"{value:.3g}") for value in (low, middle, high)]


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _show_text(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center")
    axes.set_axis_off()
