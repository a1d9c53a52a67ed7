"""`python -m mlctl.adapters.conversion FOLDER TARGET`: convert a model; print the reason if it cannot be used.

It runs in a process of its own: TensorFlow and scikit-learn would stay in the memory of a worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Convert, and print {"reason": …} as the last line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    from mlctl.adapters.conversion.stock_model import convert

    with contextlib.redirect_stdout(sys.stderr):
        reason = convert(Path(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({"reason": reason}), flush=True)


if __name__ == "__main__":
    main()
