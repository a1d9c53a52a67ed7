"""Plots of probabilities: ROC, precision and recall, calibration."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlctl.adapters.plots import style
from mlctl.adapters.plots.style import NO_CAPTION, TRAINING, Caption, drawing, shorten


def plot_probabilities(
    target: Path | io.BytesIO, entry: Mapping[str, Any], *, caption: Caption = NO_CAPTION
) -> None:
    """Plot ROC, precision and recall, and calibration of an output of evaluation.json."""
    curves, calibration = entry["curves"], entry["calibration"]
    title = f"area under ROC {curves[0]['auc']:.3f}, average precision {curves[0]['average_precision']:.3f}"
    height = 4.2 + (0.18 * len(curves) if len(curves) > 1 else 0)
    with drawing(target, size=(11, height), title=title, caption=caption) as figure:
        roc, precision, calibrated = figure.subplots(1, 3)
        for number, curve in enumerate(curves):
            look = {"color": style.colour_of(number), "lw": 2.2 if number == 0 else 1.1}
            name = shorten(curve["name"], 24)
            roc.plot(curve["false_positives"], curve["recall"], label=f"{name} {curve['auc']:.3f}", **look)
            label = f"{name} {curve['average_precision']:.3f}"
            precision.plot(curve["recall"], curve["precision"], label=label, **look)
        roc.plot([0, 1], [0, 1], color=style.MUTED, lw=1, ls=":")
        roc.set(xlabel="false positives", ylabel="true positives", title="ROC")
        precision.set(xlabel="recall", ylabel="precision", title="precision and recall")
        bins = calibration["bins"]
        calibrated.plot([0, 1], [0, 1], color=style.MUTED, lw=1, ls=":")
        calibrated.plot([mean for _, mean, _ in bins], [share for _, _, share in bins], "o-", color=TRAINING)
        title = f"calibration, mean gap {calibration['error']:.1%}"
        calibrated.set(xlabel="predicted probability", ylabel="share that is true", title=title)
        for axes in (roc, precision, calibrated):
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
            for axis in (axes.xaxis, axes.yaxis):
                style.format_axis(axis, "recall", [0, 1])
            axes.grid()
        if len(curves) > 1:
            for axes in (roc, precision):
                axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8)
