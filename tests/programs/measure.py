"""Take every recipe of docs/gallery through its whole life, and compare its training with `Model.fit`.

`python tests/programs/measure.py [NAME …]` prints a table with a row for each recipe: lines of its file, best value of
the objective against that of `Model.fit`, CPU seconds of the training against those of `fit` (both without imports and
logging), what serves it, and whether it could be

- registered and served, and answered its input example as the stock `python_function` flavor does without mlctl,
- resumed after kill -9 with the weights of a training that was not killed,
- tuned with three trials.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

HERE = Path(__file__).parent
GALLERY = HERE.parents[1] / "docs" / "gallery"
MLCTL = [sys.executable, "-m", "mlctl"]
STOCK = """
import json, sys
sys.modules["mlctl"] = None  # as if it were not installed
import mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1])
answer = model.predict(model.input_example)
answer = {name: part.tolist() for name, part in answer.items()} if isinstance(answer, dict) else answer.tolist()
print("ANSWER" + json.dumps(answer))
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with a store of its own."""
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "XDG_STATE_HOME": f"{folder}/state",
    }
    return subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def main(names: list[str]) -> None:
    """Measure the named recipes, or all."""
    columns = "program lines objective mlctl fit CPU fit_CPU ratio runtime served resumed tuned"
    print("| " + " | ".join(columns.split()) + " |")
    print("|" + " --- |" * len(columns.split()))
    for file in sorted(GALLERY.glob("*.py")):
        if file.stem == "digits28" or (names and file.stem not in names):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(shutil.copytree(GALLERY, Path(temporary) / "gallery"))
            print("| " + " | ".join(map(str, measure(folder, file.stem))) + " |", flush=True)


def measure(folder: Path, name: str) -> list[Any]:
    """Return the row of one recipe."""
    source = f"./{name}.py"
    lines = len((folder / f"{name}.py").read_text().splitlines())
    trained = run(folder, *MLCTL, "train", source, "--register", name, "-o", "json")
    if trained.returncode:
        return [name, lines, "train: " + trained.stderr.strip().splitlines()[-2][:200]]
    answer = json.loads(trained.stdout)
    sides = {}
    for side in ("mlctl", "fit"):
        done = run(folder, sys.executable, str(HERE / "plain.py"), source, side)
        sides[side] = json.loads(done.stdout.splitlines()[-1]) if not done.returncode else done.stderr[-200:]
    direction, _, metric = answer["tags"]["mlctl.objective"].partition(":")
    row = [name, lines, metric, f"{answer['metrics'][f'best_{metric}']:.4f}"]
    if isinstance(sides["fit"], str) or isinstance(sides["mlctl"], str):
        return [*row, f"failed: {sides}"]
    values = sides["fit"]["history"].get(metric)
    best = f"{(max if direction == 'max' else min)(values):.4f}" if values else "not measured"
    cpu = [sides[side]["cpu_s"] for side in ("mlctl", "fit")]
    row += [best, f"{cpu[0]:.1f}", f"{cpu[1]:.1f}", f"{cpu[0] / cpu[1]:.2f}"]
    reason = answer["tags"].get("mlctl.runtime_reason", "")
    row.append(answer["tags"]["mlctl.runtime"] + (f": {reason}" if reason else ""))
    model = next(path.parent for path in folder.glob("mlruns/**/MLmodel"))
    row.append(served(folder, name, model))
    row.append(resumed(folder, source, model))
    tuned = run(folder, *MLCTL, "tune", source, "--trials", "3", "-o", "json")
    row.append("yes" if not tuned.returncode else tuned.stderr.strip().splitlines()[-2][:120])
    return row


def served(folder: Path, name: str, model: Path) -> str:
    """Return whether the endpoint answers the input example as the stock flavor does."""
    stock = run(folder, sys.executable, "-c", STOCK, str(model))
    if stock.returncode:
        return "stock: " + stock.stderr.strip().splitlines()[-1][:120]
    expected = json.loads(stock.stdout.rpartition("ANSWER")[2])
    started = run(folder, *MLCTL, "serve", f"{name}/1", "--detach", "--port", "0", "-o", "json")
    if started.returncode:
        return "serve: " + started.stderr.strip().splitlines()[-1][:120]
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
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "XDG_STATE_HOME": f"{folder}/state",
    }
    process = subprocess.Popen(
        [*MLCTL, "train", source],
        cwd=folder,
        env=environment,
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
    known = set(folder.glob("mlruns/**/MLmodel"))
    done = run(folder, *MLCTL, "resume", "last")
    if done.returncode:
        return done.stderr.strip().splitlines()[-1][:120]
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
    main(sys.argv[1:])
