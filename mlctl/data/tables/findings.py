"""What is said of a table before training: a line for each thing that was found, warnings among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlctl.data.tables.column_types import KINDS, PLURALS, Found

if TYPE_CHECKING:
    import pandas as pd

TWINS = 0.05  # of the test rows
IMBALANCED = 0.2  # a class with less than this share of an even one
FAR = 1e-4  # a target's deviation by its mean: 32-bit floats have 1e-7

Array = np.ndarray[Any, Any]


def of_target(target: str, targets: Array, classes: Sequence[str]) -> list[str]:
    """Say what kind of target it is, and warn of values that a network's seven digits cannot tell apart."""
    if not classes:
        low, high = float(targets.min()), float(targets.max())
        said = [f"target {target}: regression, {low:g} to {high:g} (--set task= says otherwise)"]
        if targets.std() < FAR * abs(targets.mean()):
            said.append(
                f"warning: {target} lies far from 0 for how little it varies, and a network answers in 7 digits:"
                " take a fixed number off it, or use mlctl automl, which does"
            )
        return said
    counts = np.bincount(targets, minlength=len(classes))
    order = np.argsort(-counts)
    shown = ", ".join(f"{classes[one]} {counts[one] / len(targets):.1%}" for one in order[:6])
    more = f" and {len(classes) - 6} more" if len(classes) > 6 else ""
    kind = "two classes" if len(classes) == 2 else f"{len(classes)} classes"
    return [f"target {target}: {kind}: {shown}{more} (--set task=regression says otherwise)"]


def of_columns(found: Sequence[Found], rows: int) -> list[str]:
    """Say which columns are of which kind."""
    lines = []
    for kind in KINDS:
        named = [
            one.name
            + (f" ({one.why})" if one.why else "")
            + (f" ({one.gaps / rows:.1%} gaps)" if one.gaps and not one.why else "")
            for one in found
            if one.kind == kind
        ]
        if named:
            more = f" and {len(named) - 24} more" if len(named) > 24 else ""
            lines.append(f"{PLURALS[kind]}: {', '.join(named[:24])}{more}")
    return [*lines, "another kind: --set column.NAME=" + "|".join(KINDS)]


def of_split(parts: Sequence[Array], group: str, time: str) -> list[str]:
    """Say how many rows each split has, and how they were dealt."""
    how = f"whole groups of {group}" if group else f"in the order of {time}, newest last" if time else ""
    sizes = " / ".join(f"{len(part):,}" for part in parts)
    return [f"training / validation / test: {sizes} rows{', ' + how if how else ''}"]


def of_twins(frame: pd.DataFrame, parts: Sequence[Array]) -> list[str]:
    """Warn of test rows that stand in training cell by cell: their score is of what was learned by heart."""
    import pandas as pd

    rows = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    twins = float(np.isin(rows[parts[2]], rows[parts[0]]).mean())
    if twins < TWINS:
        return []
    return [
        f"warning: {twins:.0%} of the test rows stand in the training rows, too, cell by cell: the test flatters;"
        " take repeated rows out, or keep them together (--set group=COLUMN)"
    ]


def of_balance(classes: Sequence[str], share: Array, balance: bool) -> list[str]:
    """Warn of a class that is rare."""
    if not classes or share.min() >= IMBALANCED / len(classes):
        return []
    rarest = int(share.argmin())
    cure = (
        "classes count evenly (balance=true)" if balance else "--set balance=true lets classes count evenly"
    )
    return [
        f"warning: class {classes[rarest]} is {share[rarest]:.2%} of the rows: accuracy says little here,"
        f" look at f1; {cure}"
    ]
