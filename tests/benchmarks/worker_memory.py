"""Measure the memory of one and of four workers of a large model: they share its weights.

    python tests/benchmarks/worker_memory.py [--million-parameters 50] [--kind dense|convolution]

Prints the memory of all processes of the endpoint, with shared pages counted once (PSS), after each worker has
answered, and the seconds until the endpoint was ready.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import psutil

SIDE = 32
REQUESTS = 40  # enough for each worker to answer some


def save(folder: Path, kind: str, million: float) -> None:
    """Save a Keras model of so many million parameters, as mlctl does."""
    import keras
    import numpy as np
    from keras import layers

    from mlctl.adapters.models.save import save_model
    from mlctl.serving.scoring import PixelEncoder

    image = keras.Input((SIDE, SIDE, 3))
    if kind == "dense":
        width = int((((3 * SIDE**2) ** 2 + 8e6 * million) ** 0.5 - 3 * SIDE**2) / 4)
        body = [layers.Flatten(), layers.Dense(width), layers.Dense(width), layers.Dense(width)]
    else:
        width = int((million * 1e6 / 9 / 4) ** 0.5) // 16 * 16
        body = [layers.Conv2D(width, 3, strides=2, padding="same", activation="relu") for _ in range(5)]
        body.append(layers.GlobalAveragePooling2D())
    model = keras.Sequential([image, *body, layers.Dense(10, activation="softmax")])
    images = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    encoder = PixelEncoder((SIDE, SIDE, 3), high=255)
    metadata = {"task": "multiclass", "classes": list("0123456789"), "unit": "", "recipe": ""}
    save_model(folder, model, encoder=encoder, raw=images, encoded=encoder(images), metadata=metadata)
    print(
        f"{model.count_params() / 1e6:.0f} million parameters, {(folder / 'artifacts/model/model.onnx').stat().st_size / 1e6:.0f} MB"
    )


def measure(model: Path, workers: int) -> tuple[float, float]:
    """Return the endpoint's memory in MB, and the seconds until it was ready."""
    name = f"memory-{workers}"
    mlctl = [sys.executable, "-m", "mlctl"]
    started = time.perf_counter()
    command = [
        *mlctl,
        "serve",
        str(model),
        "--workers",
        str(workers),
        "--port",
        "0",
        "--name",
        name,
        "--detach",
    ]
    done = subprocess.run([*command, "-o", "json"], check=True, capture_output=True, text=True)
    ready_s = time.perf_counter() - started
    endpoint = json.loads(done.stdout)
    try:
        image = [[[0] * 3] * SIDE] * SIDE
        body = json.dumps({"inputs": [image]}).encode()
        for _ in range(REQUESTS):
            request = urllib.request.Request(
                f"{endpoint['url']}/invocations", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request) as reply:
                reply.read()
        process = psutil.Process(endpoint["pid"])
        members = [process, *process.children(recursive=True)]
        return sum(member.memory_full_info().pss for member in members) / 1e6, ready_s
    finally:
        subprocess.run([*mlctl, "endpoints", "stop", name, "--yes"], check=True, capture_output=True)


def main() -> None:
    """Measure both, and print the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--million-parameters", type=float, default=50)
    parser.add_argument("--kind", choices=["dense", "convolution"], default="dense")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlctl-bench-") as temporary:
        folder = Path(temporary)
        os.environ.update(MLCTL_STATE_DIR=str(folder / "state"), TF_CPP_MIN_LOG_LEVEL="3")
        save(folder / "model", options.kind, options.million_parameters)
        one, one_s = measure(folder / "model", 1)
        four, four_s = measure(folder / "model", 4)
    print(f"1 worker:  {one:.0f} MB, ready after {one_s:.1f} s")
    print(f"4 workers: {four:.0f} MB, ready after {four_s:.1f} s")
    print(f"ratio: {four / one:.2f}")


if __name__ == "__main__":
    main()
