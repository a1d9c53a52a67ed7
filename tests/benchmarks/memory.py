"""How much memory training on pictures takes, from 1x to 100x of synthetic pictures.

    python tests/benchmarks/memory.py [--unit 200] [--times 1 10 100]

Each size is trained on for one epoch in a process of its own; what is printed is that process's peak.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cats", "dogs")


def make(folder: Path, pictures: int) -> None:
    """Write so many small JPEG files; each content is another one."""
    rng = np.random.default_rng(0)
    for number in range(pictures):
        kind = number % len(CLASSES)
        target = folder / CLASSES[kind]
        target.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (64, 64, 3)).astype(np.uint8)
        pixels[10 + 30 * kind : 30 + 30 * kind, 10:50] = 220
        Image.fromarray(pixels).save(target / f"{number}.jpg", quality=80)


def main() -> None:
    """Print pictures, bytes on disk, peak memory and seconds, a line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unit", type=int, default=200)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    asked = parser.parse_args()
    for times in asked.times:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            make(folder / "pictures", asked.unit * times)
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "mlctl", "train", "pictures", "--epochs", "1", "-o", "json",
                 "--precision", "float32", "--set", "image_size=64x64", "--set", "filters=8"],
                cwd=folder, capture_output=True, text=True, check=False,
                env={**os.environ, "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "XDG_STATE_HOME": temporary},
            )  # fmt: skip
            if done.returncode:
                sys.exit(done.stderr)
            run = json.loads(done.stdout)
            print(
                f"{times:>4}x  {run['data']['rows']:>7,} pictures  {run['tags']['mlctl.data.size_bytes']:>11} bytes"
                f"  peak {run['tags']['mlctl.peak_memory_mb']:>5} MB  {time.perf_counter() - started:6.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
