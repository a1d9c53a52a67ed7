"""`python -m mlctl.adapters.conversion FOLDER TARGET`: convert a model; print the reason if it cannot be used.

It runs in a process of its own: TensorFlow and scikit-learn would stay in the memory of a worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from mlctl.adapters.conversion.families import find_family


def main() -> None:
    """Convert, and print {"reason": …} as the last line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    folder, target = Path(sys.argv[1]), Path(sys.argv[2])
    family = find_family(folder)
    if isinstance(family, str):
        reason = family
    else:
        from mlctl.adapters.conversion.stock_model import convert  # it imports ONNX, and then the library

        with contextlib.redirect_stdout(sys.stderr):
            reason = convert(folder, target)
    print(json.dumps({"reason": reason}), flush=True)


if __name__ == "__main__":
    main()
