"""Words that stand for true and false."""

from __future__ import annotations

CELL_TRUTHS = {"true": True, "false": False, "1": True, "0": False}  # in a column of true and false
TRUTHS = {**CELL_TRUTHS, "yes": True, "no": False}
