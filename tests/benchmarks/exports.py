"""Measure the exports of models by every format: agreement, score, size and latency.

    python tests/benchmarks/exports.py [--models digits,table] [--formats onnx,litert-int8] [--folder DIR] [--quick]
                                       [--keep FILE]

The models are digits, imdb, a table of clients, a folder of pictures and a model with two inputs. mnist is measured
only if `--models` names it: `--models mnist --formats onnx-int8,litert-int8` measures its two int8 exports.
Each model is trained by `mlctl train`, and exported by `mlctl export model`, whose proof has the figures. A cell that
has none says why. `--folder` keeps the store, so that a later call trains nothing again. `--keep` adds every cell to a
file of JSON lines, and cells that it holds already are not measured again. `--quick` trains imdb and mnist for one
epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = (
    "onnx", "onnx-float16", "onnx-int8", "onnx-dynamic", "python", "savedmodel", "keras",
    "litert", "litert-float16", "litert-int8", "litert-dynamic",
)  # fmt: skip
TWO_INPUTS = '''\
import numpy as np

from mlctl.recipes import Dataset, Recipe, Split, maximize


class Pairs(Recipe):
    """Whether two rows of numbers have the same sign of their sums"""

    name = "pairs"
    objective = maximize("val_accuracy")
    epochs, batch_size, learning_rate = 12, 64, 3e-3

    def load(self, source):
        rng = np.random.default_rng(0)
        left, right = (rng.normal(size=(4000, 8)).astype("float32") for _ in range(2))
        same = ((left.sum(axis=1) > 0) == (right.sum(axis=1) > 0)).astype("int64")
        parts = (slice(2500), slice(2500, 3000), slice(3000, 4000))
        splits = (Split({"left": left[rows], "right": right[rows]}, same[rows]) for rows in parts)
        return Dataset("pairs", *splits, classes=("other", "same"), source="generated")

    def build(self, hp, data):
        import keras

        left, right = keras.Input((8,), name="left"), keras.Input((8,), name="right")
        both = keras.layers.Concatenate()([left, right])
        for _ in range(2):
            both = keras.layers.Dense(64, activation="relu")(both)
        model = keras.Model({"left": left, "right": right}, keras.layers.Dense(1, activation="sigmoid")(both))
        model.compile(keras.optimizers.Adam(hp.rate), loss="binary_crossentropy", metrics=["accuracy"])
        return model
'''


def write_table(file: Path) -> None:
    """Write a table of 3,000 clients with numbers, gaps, categories and yes or no."""
    rng = np.random.default_rng(0)
    rows = 3000
    age, income = rng.uniform(18, 90, rows).round(1), rng.lognormal(10, 1, rows).round(2)
    place, member = rng.choice(["north", "south", "east", "west"], rows), rng.choice(["yes", "no"], rows)
    score = age / 90 + np.log(income) / 12 + 0.4 * (place == "north") + 0.3 * (member == "yes")
    bought = score + rng.normal(0, 0.2, rows) > 1.75
    lines = ["age,income,place,member,bought"]
    for row in range(rows):
        shown = "" if rng.random() < 0.1 else age[row]
        lines.append(f"{shown},{income[row]},{place[row]},{member[row]},{'yes' if bought[row] else 'no'}")
    file.write_text("\n".join(lines) + "\n")


def write_pictures(folder: Path) -> None:
    """Write scikit-learn's digits as PNG files, a folder for each class."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (picture, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        target = folder / f"digit {label}"
        target.mkdir(parents=True, exist_ok=True)
        pixels = Image.fromarray((picture * 15.9).astype(np.uint8)).resize((32, 32))
        pixels.save(target / f"{number}.png")


def training(model: str, folder: Path, quick: bool) -> list[str]:
    """Return the arguments of `mlctl train` for a model, and write its data."""
    if model == "table":
        write_table(folder / "clients.csv")
        return ["clients.csv", "--target", "bought", "--epochs", "20"]
    if model == "pictures":
        if not (folder / "pictures").is_dir():
            write_pictures(folder / "pictures")
        return ["pictures", "--epochs", "8"]
    if model == "pairs":
        (folder / "pairs.py").write_text(TWO_INPUTS)
        return ["./pairs.py"]
    if model == "imdb":
        return ["imdb", "--epochs", "1" if quick else "3"]
    if model == "mnist":
        return ["mnist", "--epochs", "1" if quick else "4"]
    return [model]


def run_mlctl(folder: Path, *arguments: str) -> Any:
    """Return the JSON answer of a command, or its error."""
    variables = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    done = subprocess.run(
        [sys.executable, "-m", "mlctl", *arguments, "-o", "json"],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return json.loads(done.stdout)
    lines = [line for line in done.stderr.splitlines() if line.startswith('{"error"')]
    return json.loads(lines[-1]) if lines else {"error": {"message": done.stderr.strip()[-300:]}}


def model_run(model: str, folder: Path, quick: bool) -> str:
    """Return the run of a model, which is trained if the folder has none."""
    known = folder / f"{model}.run"
    if not known.is_file():
        answer = run_mlctl(folder, "train", *training(model, folder, quick))
        if "error" in answer:
            raise SystemExit(f"{model}: {answer['error']['message']}")
        known.write_text(answer["run_id"])
    return known.read_text()


def measure(folder: Path, run: str, form: str) -> Any:
    """Return the proof of an export, or why there is none."""
    target, _, quantize = form.partition("-")
    arguments = ["--quantize", quantize] if quantize else []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        answer = run_mlctl(folder, "export", "model", run, "--to", target, f"{scratch}/out", *arguments)
    return answer.get("proof") or answer


def known_cells(file: Path | None) -> dict[tuple[str, str], Any]:
    """Return what a file of JSON lines holds, by model and format."""
    lines = file.read_text().splitlines() if file and file.exists() else []
    entries = [json.loads(line) for line in lines]
    return {(entry["model"], entry["format"]): entry["found"] for entry in entries}


def cells(model: str, form: str, found: Any) -> list[str]:
    """Return a line of the table."""
    if "error" in found:
        return [model, form, found["error"]["message"], "", "", "", "", ""]
    score = found["score"]
    share = f" ({found['size_bytes'] / found['float32_bytes']:.0%})" if found["float32_bytes"] else ""
    after = (
        f"{score['metric']} {score['before']:.4f} to {score['after']:.4f}" if score else found["score_reason"]
    )
    return [
        model,
        form,
        f"{found['relative_difference']:.1g}",
        "" if found["equal_labels"] is None else f"{found['equal_labels']:.2%}",
        after,
        f"{found['size_bytes'] / 1000:,.0f} kB{share}",
        f"{found['latency_ms']:.3g} ms",
        {"inside": "in the file", "beside": "beside it", "none": "none"}[found["encoder"]],
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="digits,imdb,table,pictures,pairs")
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mlctl-exports-") as temporary:
        folder = (chosen.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        titles = ["model", "format", "difference", "equal labels", "score", "size", "one row", "encoder"]
        print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}", flush=True)
        known = known_cells(chosen.keep)
        for model in chosen.models.split(","):
            for form in chosen.formats.split(","):
                found = known.get((model, form))
                if found is None:
                    found = measure(folder, model_run(model, folder, chosen.quick), form)
                    if chosen.keep:
                        with chosen.keep.open("a") as file:
                            file.write(json.dumps({"model": model, "format": form, "found": found}) + "\n")
                print(f"| {' | '.join(cells(model, form, found))} |", flush=True)


if __name__ == "__main__":
    main()
