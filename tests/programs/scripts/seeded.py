"""Run a program with a seed, and write the history of each `fit` to the file that HISTORY names.

`python seeded.py SEED train.py [ARGUMENT …]` or `python seeded.py SEED -m package.module [ARGUMENT …]`.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

HISTORY: list[dict[str, list[float]]] = []


def main() -> None:
    """Set the seed, wrap `fit` and run the program."""
    import keras

    seed = int(sys.argv[1])
    del sys.argv[:2]
    set_random_seed = keras.utils.set_random_seed
    keras.utils.set_random_seed = lambda ignored: set_random_seed(
        seed
    )  # as --seed replaces the program's own
    set_random_seed(seed)
    fit = keras.Model.fit

    def recorded(model: Any, *args: Any, **kwargs: Any) -> Any:
        history = fit(model, *args, **kwargs)
        HISTORY.append({name: [float(value) for value in values] for name, values in history.history.items()})
        return history

    keras.Model.fit = recorded
    if sys.argv[0] == "-m":
        del sys.argv[0]
        sys.path[0] = os.getcwd()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    try:
        main()
    finally:
        Path(os.environ["HISTORY"]).write_text(json.dumps(HISTORY))
