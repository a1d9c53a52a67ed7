"""Take every recipe of docs/gallery through its whole life, and compare it with `Model.fit`.

`python tests/programs/measure.py [NAME …] [--pairs N]` prints a table with a row for each recipe:

- lines: of the recipe's file.
- score: the best value of the objective, of mlctl and of `fit` on the same data with the same seed; of the validation
  loss if Keras does not measure the objective. The order of the rows differs.
- training: CPU seconds of mlctl's training loop divided by those of `fit`. Both compile the graph, and train and
  validate every epoch; mlctl also computes all of its scores and copies its state for a checkpoint.
- whole: CPU seconds of the process tree of `mlctl train`, divided by those of a script that trains with `fit` under
  MLflow's autologging, which logs the model. mlctl also exports the model to ONNX, and loads it in a fresh process.
- runtime: what serves the model, and why if that is Keras.
- served: the endpoint answers the input example as the stock `python_function` flavor does in a process without mlctl.
- resumed: a training that was killed with -9 after its first epoch and resumed has the weights of one without a kill.
- tuned: `mlctl tune --trials 3` succeeds.

The sides of a pair run one after the other; ratios are those of the medians. CPU seconds vary on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

COLUMNS = (
    "program",
    "lines",
    "score",
    "mlctl",
    "fit",
    "training",
    "whole",
    "runtime",
    "served",
    "resumed",
    "tuned",
)
HERE = Path(__file__).parent
GALLERY = HERE.parents[1] / "docs" / "gallery"
MLCTL = [sys.executable, "-m", "mlctl"]
CREATE_STORE = "import mlflow; mlflow.search_experiments()"
STOCK = """
import json, sys
sys.modules["mlctl"] = None  # as if it were not installed
import mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1])
answer = model.predict(model.input_example)
answer = {name: part.tolist() for name, part in answer.items()} if isinstance(answer, dict) else answer.tolist()
print("ANSWER" + json.dumps(answer))
"""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a command, with a store of its own."""
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "XDG_STATE_HOME": f"{folder}/state",
    }


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with a store of its own."""
    return subprocess.run(
        arguments, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )


def timed(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run a command; return its result, and the CPU seconds of its process and of all that it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(folder, *arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure the named recipes, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes of docs/gallery (default: all)")
    parser.add_argument("--pairs", type=int, default=1, help="how often both sides are measured (default: 1)")
    options = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |")
    print("|" + " --- |" * len(COLUMNS))
    for file in sorted(GALLERY.glob("*.py")):
        if file.stem == "digits28" or (options.names and file.stem not in options.names):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(shutil.copytree(GALLERY, Path(temporary) / "gallery"))
            row = measure(folder, file.stem, options.pairs)
            print("| " + " | ".join(map(str, row)) + " |", flush=True)


def measure(folder: Path, name: str, pairs: int) -> list[Any]:
    """Return the row of one recipe."""
    source = f"./{name}.py"
    row: list[Any] = [name, len((folder / f"{name}.py").read_text().splitlines())]
    run(folder, sys.executable, "-c", CREATE_STORE)  # which neither side pays for
    trained, cpu = timed(folder, *MLCTL, "train", source, "--register", name, "-o", "json")
    if trained.returncode:
        return [*row, "train: " + last_line(trained)]
    answer = json.loads(trained.stdout)
    model = next(path.parent for path in folder.glob("mlruns/**/MLmodel"))
    try:
        row += compare(folder, source, answer, pairs, cpu)
    except RuntimeError as error:
        row += [f"failed: {error}", "", "", "", ""]
    reason = answer["tags"].get("mlctl.runtime_reason", "")
    row.append(f"Keras: {reason}" if answer["tags"]["mlctl.runtime"] == "keras" else "ONNX Runtime")
    row.append(served(folder, name, model))
    row.append(resumed(folder, source, model))
    tuned = run(folder, *MLCTL, "tune", source, "--trials", "3", "-o", "json")
    row.append("yes" if not tuned.returncode else last_line(tuned))
    return row


def compare(folder: Path, source: str, answer: Any, pairs: int, first_cpu: float) -> list[Any]:
    """Return the score's name, its value with mlctl and `fit`, and the ratios of CPU seconds."""
    plain = [sys.executable, str(HERE / "plain.py"), source]
    training: dict[str, list[float]] = {"mlctl": [], "fit": []}
    whole: dict[str, list[float]] = {"mlctl": [first_cpu], "script": []}
    history: dict[str, Any] = {}
    for pair in range(pairs):
        if pair:
            whole["mlctl"].append(checked(*timed(folder, *MLCTL, "train", source))[1])
        whole["script"].append(checked(*timed(folder, *plain, "script"))[1])
        for side in ("mlctl", "fit"):
            done, _ = checked(*timed(folder, *plain, side))
            result = json.loads(done.stdout.splitlines()[-1])
            training[side].append(result["cpu_s"])
            history[side] = result["history"]
    direction, _, metric = answer["tags"]["mlctl.objective"].partition(":")
    if metric not in history["fit"]:
        direction, metric = "min", "val_loss"
    best = max if direction == "max" else min
    scores = [f"{best(history[side][metric]):.4f}" for side in ("mlctl", "fit")]
    ratios = [ratio(training["mlctl"], training["fit"]), ratio(whole["mlctl"], whole["script"])]
    return [metric, *scores, *ratios]


def ratio(ours: list[float], theirs: list[float]) -> str:
    """Return the ratio of two medians, and the medians themselves."""
    medians = statistics.median(ours), statistics.median(theirs)
    return f"{medians[0] / medians[1]:.2f} ({medians[0]:.1f} / {medians[1]:.1f} s)"


def checked(
    done: subprocess.CompletedProcess[str], cpu: float
) -> tuple[subprocess.CompletedProcess[str], float]:
    """Return the arguments; raise RuntimeError if the command has failed."""
    if done.returncode:
        raise RuntimeError(last_line(done))
    return done, cpu


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the end of what a command that failed has printed."""
    return " ".join(done.stderr.strip().splitlines()[-2:])[-200:].replace("|", "/")


def served(folder: Path, name: str, model: Path) -> str:
    """Return whether the endpoint answers the input example as the stock flavor does."""
    stock = run(folder, sys.executable, "-c", STOCK, str(model))
    if stock.returncode:
        return "stock: " + last_line(stock)
    expected = json.loads(stock.stdout.rpartition("ANSWER")[2])
    started = run(folder, *MLCTL, "serve", f"{name}/1", "--detach", "--port", "0", "-o", "json")
    if started.returncode:
        return "serve: " + last_line(started)
    endpoint = json.loads(started.stdout)
    try:
        body = (model / "serving_input_example.json").read_bytes()
        request = urllib.request.Request(
            f"{endpoint['url']}/invocations", body, {"Content-Type": "application/json"}
        )
        answer = json.loads(urllib.request.urlopen(request).read())["predictions"]
    except Exception as error:
        return f"invocations: {error}"[:120]
    finally:
        run(folder, *MLCTL, "endpoints", "stop", endpoint["name"])
    pairs = (
        [(answer[key], expected[key]) for key in expected]
        if isinstance(expected, dict)
        else [(answer, expected)]
    )
    return "yes" if all(np.allclose(a, b, atol=1e-4) for a, b in pairs) else "another answer"


def resumed(folder: Path, source: str, model: Path) -> str:
    """Kill a second training after its first epoch, resume it, and compare the weights of the logged models."""
    known = set(folder.glob("mlruns/**/MLmodel"))
    process = subprocess.Popen(
        [*MLCTL, "train", source],
        cwd=folder,
        env=environment(folder),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    done = run(folder, *MLCTL, "resume", "last")
    if done.returncode:
        return last_line(done)
    new = next(path.parent for path in folder.glob("mlruns/**/MLmodel") if path not in known)
    first, second = weights(model), weights(new)
    difference = max(
        (float(np.abs(first[key] - second[key]).max()) for key in first if first[key].size), default=0.0
    )
    return "equal" if difference == 0 else f"differs by {difference:.2g}"


def weights(model: Path) -> dict[str, Any]:
    """Return the weights in a logged model by their path."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        with zipfile.ZipFile(next(model.rglob("model.keras"))) as archive:
            archive.extract("model.weights.h5", temporary)
        with h5py.File(Path(temporary) / "model.weights.h5") as file:
            file.visititems(
                lambda path, item: (
                    found.update({path: np.asarray(item)}) if isinstance(item, h5py.Dataset) else None
                )
            )
    return {path: value for path, value in found.items() if value.dtype.kind in "fiu"}


if __name__ == "__main__":
    main()
