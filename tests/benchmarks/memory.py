"""Measure the memory of training on image folders of 1x, 10x and 100x the size.

    python tests/benchmarks/memory.py [--unit 200] [--times 1 10 100]

Each size is trained for one epoch in its own process; the peak memory of that process is printed.
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


def write_images(folder: Path, count: int) -> None:
    """Write small JPEG files with different contents, one subfolder per class."""
    rng = np.random.default_rng(0)
    for number in range(count):
        label = number % len(CLASSES)
        class_folder = folder / CLASSES[label]
        class_folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (64, 64, 3)).astype(np.uint8)
        pixels[10 + 30 * label : 30 + 30 * label, 10:50] = 220
        Image.fromarray(pixels).save(class_folder / f"{number}.jpg", quality=80)


def main() -> None:
    """Print images, bytes on disk, peak memory and seconds, one line per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unit", type=int, default=200)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    options = parser.parse_args()
    command = [
        *(sys.executable, "-m", "mlctl", "train", "pictures", "--epochs", "1", "-o", "json"),
        *("--precision", "float32", "--set", "image_size=64x64", "--set", "filters=8"),
    ]
    for times in options.times:
        with tempfile.TemporaryDirectory() as folder:
            write_images(Path(folder) / "pictures", options.unit * times)
            started = time.perf_counter()
            done = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "XDG_STATE_HOME": folder},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(done.stderr)
            run = json.loads(done.stdout)
            print(
                f"{times:>4}x  {run['data']['rows']:>7,} images  {run['tags']['mlctl.data.size_bytes']:>11} bytes"
                f"  peak {run['tags']['mlctl.peak_memory_mb']:>5} MB  {time.perf_counter() - started:6.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
