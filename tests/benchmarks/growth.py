"""How time and memory grow with tables, pictures and runs.

    python -m tests.benchmarks.growth [--small] [--only tables|pictures|runs] [--folder FOLDER] [--out FILE]

- Tables: housing at 1, 10 and 100 times its size; rows are drawn again, with a little noise in every number.
- Pictures: folders of generated JPEG files of 0.1, 1 and 10 GB.
- Runs: stores of 200, 2,000 and 20,000 runs.

Tables and pictures are trained for one epoch, searched with two trials of one epoch, and predicted. Each command runs
in a process of its own. Its memory is the largest sum over its process tree, read ten times a second; memory that
processes share counts once (PSS) on Linux. The factor is that from one size to the next, ten times as large.
`--small` takes a hundredth of these sizes, and a tenth of the runs, to try the program.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
from PIL import Image

from mlctl.data.builtin import synthetic
from tests.benchmarks import queries

SIZES = (1, 10, 100)
SAMPLES_PER_S = 10
PICTURE_SIZE = 128  # pixels of each side
TARGET = "median_house_value"
TUNING = ("--trials", "2", "--epochs", "1", "--finalists", "0", "--algorithm", "random")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time and memory of one command at one size."""

    what: str
    size: str
    seconds: float
    peak_mb: float


def measure(arguments: Sequence[str], folder: Path, **environment: str) -> tuple[float, float]:
    """Return (seconds, largest memory of the process tree in MB) of an mlctl command."""
    env = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLCTL_STATE_DIR": f"{folder}/state",
    }
    started = time.perf_counter()
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlctl", *arguments],
            cwd=folder,
            env={**env, **environment},
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        peaks = [0.0]
        ended = threading.Event()
        watch = threading.Thread(target=_watch, args=(process.pid, ended, peaks))
        watch.start()
        code = process.wait()
        seconds = time.perf_counter() - started
        ended.set()
        watch.join()
        if code:
            log.seek(0)
            raise SystemExit(f"mlctl {' '.join(arguments)}: {log.read()[-2000:]}")
    return seconds, max(peaks)


def _watch(pid: int, ended: threading.Event, peaks: list[float]) -> None:
    while not ended.wait(1 / SAMPLES_PER_S):
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(pid)
            peaks.append(sum(_memory(process) for process in (root, *root.children(recursive=True))) / 1e6)


def _memory(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", memory.rss))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def write_table(file: Path, rows: int, source: Path | None) -> None:
    """Write housing with this many rows: those of the file, or generated ones, drawn again with noise."""
    table = pd.read_csv(source) if source else synthetic.make_housing(20_640)
    rng = np.random.default_rng(0)
    drawn = table.iloc[rng.integers(0, len(table), rows)].reset_index(drop=True)
    for name in drawn.select_dtypes("number"):
        values = drawn[name].to_numpy(float)
        drawn[name] = values + rng.normal(0, 0.01 * np.nanstd(values), rows)
    drawn.to_csv(file, index=False)


def write_pictures(folder: Path, size_bytes: int) -> int:
    """Write pictures of four classes until they have this size; return their number."""
    rng, written, number = np.random.default_rng(0), 0, 0
    while written < size_bytes:
        label = number % 4
        pixels = rng.integers(0, 120, (PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)
        pixels[label * 30 : label * 30 + 30, 20:100] = 220
        path = folder / f"class{label}" / f"{number // 1000}-{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=85)
        written += path.stat().st_size
        number += 1
    return number


def tables(folder: Path, scale: float) -> Iterator[Cost]:
    """Yield the costs of housing at each size."""
    data = Path(os.environ.get("MLCTL_DATA_DIR", ".")) / "housing.csv"
    for times in SIZES:
        rows = int(20_640 * times * scale)
        file = folder / f"housing-{times}.csv"
        write_table(file, rows, data if data.is_file() else None)
        yield from _commands(
            "table",
            f"{rows:,} rows",
            folder,
            source=("housing", "--data", str(file)),
            inputs=_without_target(file),
            space=("--space", "learning_rate=1e-3..1e-2:log"),
        )
        file.unlink()


def _without_target(file: Path) -> Path:
    inputs = file.with_name(f"rows-{file.name}")
    pd.read_csv(file).drop(columns=TARGET).to_csv(inputs, index=False)
    return inputs


def pictures(folder: Path, scale: float) -> Iterator[Cost]:
    """Yield the costs of picture folders of each size."""
    for times in SIZES:
        size = int(1e8 * times * scale)
        source = folder / f"pictures-{times}"
        count = write_pictures(source, size)
        yield from _commands(
            "pictures",
            f"{size / 1e9:g} GB, {count:,} files",
            folder,
            source=(str(source),),
            inputs=source,
            space=("--space", "learning_rate=1e-3..1e-2:log"),
        )


def runs(folder: Path, scale: float) -> Iterator[Cost]:
    """Yield the costs of `runs list` with stores of each size."""
    for times in SIZES:
        count = int(200 * times * max(0.1, scale))
        store = f"sqlite:///{queries.build(folder, count)}"
        for what, arguments in {
            "runs list": (),
            "runs list --sort": ("--sort", "-val_f1"),
            "runs list --where": ("--where", "val_f1 > 0.999", "--limit", "100"),
        }.items():
            measured = min(
                measure(("runs", "list", *arguments), folder, MLFLOW_TRACKING_URI=store) for _ in range(3)
            )
            yield Cost(what=what, size=f"{count:,} runs", seconds=measured[0], peak_mb=measured[1])


def _commands(
    what: str, size: str, folder: Path, *, source: Sequence[str], inputs: Path, space: Sequence[str]
) -> Iterator[Cost]:
    for name, arguments in {
        "train": ("train", *source, "--epochs", "1"),
        "predict": ("predict", "last", str(inputs), "--out", str(folder / "answers.csv")),
        "tune": ("tune", *source, *space, *TUNING),
    }.items():
        (folder / "answers.csv").unlink(missing_ok=True)
        seconds, peak_mb = measure((*arguments, "--yes"), folder)
        yield Cost(what=f"{name}, {what}", size=size, seconds=seconds, peak_mb=peak_mb)


THEMES: dict[str, Callable[[Path, float], Iterator[Cost]]] = {
    "tables": tables,
    "pictures": pictures,
    "runs": runs,
}


def print_table(costs: Sequence[Cost]) -> None:
    """Print one Markdown row per command and size, with the factors from the size before."""
    print("| command | size | s | factor | peak MB | factor |\n| --- | --- | --- | --- | --- | --- |")
    for what in dict.fromkeys(cost.what for cost in costs):
        before: Cost | None = None
        for cost in (cost for cost in costs if cost.what == what):
            factors = [f"{now / old:.1f}" if old else "" for now, old in _pairs(cost, before)]
            print(
                f"| {what} | {cost.size} | {cost.seconds:.1f} | {factors[0]} | {cost.peak_mb:,.0f} | {factors[1]} |"
            )
            before = cost


def _pairs(cost: Cost, before: Cost | None) -> list[tuple[float, float]]:
    if before is None:
        return [(cost.seconds, 0), (cost.peak_mb, 0)]
    return [(cost.seconds, before.seconds), (cost.peak_mb, before.peak_mb)]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", choices=THEMES)
    parser.add_argument("--folder", type=Path, help="for the data, up to 25 GB (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="write the figures as JSON, too")
    options: Any = parser.parse_args()
    costs: list[Cost] = []
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        for name in [options.only] if options.only else THEMES:
            for cost in THEMES[name](folder.resolve(), 0.01 if options.small else 1.0):
                costs.append(cost)
                print(
                    f"{cost.what}, {cost.size}: {cost.seconds:.1f} s, {cost.peak_mb:,.0f} MB", file=sys.stderr
                )
                if options.out:
                    options.out.write_text(json.dumps([asdict(cost) for cost in costs], indent=1))
    print_table(costs)


if __name__ == "__main__":
    main()
