"""Compare `mlctl serve --batch` with LitServe and BentoML with batches, and with itself without them.

    python tests/benchmarks/batching.py [--seconds 5] [--kind convolution|dense] [--peers-python PYTHON]

The models take an image of 32x32 pixels: a convolution of 5 million parameters, or dense layers of 12 million, which
read all their weights for each image that is answered alone. A request is one image as JSON, at 1, 8 and 32 clients.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.benchmarks.serving import measure, write_request
from tests.parts import free_port

SIDE = 32
HERE = Path(__file__).parent


def save(folder: Path, kind: str) -> None:
    """Save the model as mlctl does."""
    import keras
    import numpy as np
    from keras import layers

    from mlctl.adapters.models.save import save_model
    from mlctl.serving.scoring import PixelEncoder

    keras.utils.set_random_seed(1)
    if kind == "dense":
        body = [layers.Flatten(), *(layers.Dense(2048, activation="relu") for _ in range(2))]
    else:
        widths = (32, 64, 128, 256, 512)
        body = [
            *(layers.Conv2D(width, 3, strides=2, padding="same", activation="relu") for width in widths),
            layers.Conv2D(740, 3, padding="same", activation="relu"),
            layers.GlobalAveragePooling2D(),
        ]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *body, layers.Dense(10, activation="softmax")])
    images = np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8)
    encoder = PixelEncoder((SIDE, SIDE, 3), high=255)
    metadata = {"task": "multiclass", "classes": list("0123456789"), "unit": "", "recipe": ""}
    save_model(
        folder / "model", model, encoder=encoder, raw=images, encoded=encoder(images), metadata=metadata
    )
    body_bytes = json.dumps({"inputs": images[:1].tolist()}).encode()
    write_request(folder, "image", body_bytes, "application/json")
    print(f"{kind}, {model.count_params() / 1e6:.1f} million parameters")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--kind", choices=["convolution", "dense"], default="convolution")
    parser.add_argument("--peers-python")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlctl-bench-") as temporary:
        folder, port = Path(temporary), free_port()
        os.environ.update(
            MLCTL_STATE_DIR=str(folder / "state"),
            BENCH_ONNX=str(folder / "model/artifacts/model/model.onnx"),
            TF_CPP_MIN_LOG_LEVEL="3",
        )
        save(folder, options.kind)
        mlctl = [
            sys.executable,
            "-m",
            "mlctl",
            "serve",
            str(folder / "model"),
            "--port",
            str(port),
            "--batch",
        ]
        commands = {f"mlctl --batch {setting}": [*mlctl, setting] for setting in ("off", "32", "auto")}
        if peers := options.peers_python:
            commands["LitServe, batches"] = [peers, str(HERE / "peers/lit_batched.py"), str(port)]
            bento = [peers, "-m", "bentoml", "serve", "bento_batched:Batched", "--port", str(port)]
            commands["BentoML, batches"] = [*bento, "--working-dir", str(HERE / "peers")]
        print("| server | requests/s at 1 / 8 / 32 clients | p50 | p99 | not 200 | CPU ms a request |")
        print("| --- | --- | --- | --- | --- | --- |")
        for name, command in commands.items():
            try:
                result = measure(
                    name, command, request="image", port=port, folder=folder, seconds=options.seconds
                )
            except RuntimeError as error:
                print(f"{name} failed: {error}", file=sys.stderr)
                continue
            rates = " / ".join(f"{load.requests_per_s:.0f}" for load in result.loads)
            p50, p99 = (" / ".join(getattr(load, key) for load in result.loads) for key in ("p50", "p99"))
            failed = sum(load.failures for load in result.loads)
            print(f"| {name} | {rates} | {p50} | {p99} | {failed} | {result.cpu_ms:.2f} |", flush=True)


if __name__ == "__main__":
    main()
