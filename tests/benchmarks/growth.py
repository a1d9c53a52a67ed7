"""How time and memory grow with tables, pictures and runs.

    python -m tests.benchmarks.growth --folder FOLDER [--small] [--only THEME] [--largest N] [--keep FILE] [--prepare]

- tables: housing at 1, 10 and 100 times its size; rows are drawn again, with a little noise in every number.
- pictures: folders of generated photographs of 0.1, 1 and 10 GB, as JPEG files of about 1 MB.
- runs: stores of 200, 2,000 and 20,000 runs.

Tables and pictures are trained for one epoch, predicted, and searched with two trials of one epoch. Each command runs
in a process of its own. Its memory is the largest sum over its process tree, read ten times a second; memory that
processes share counts once (PSS) on Linux. The factor is that from one size to the next, ten times as large.

FOLDER keeps the data (11 GB). `--prepare` only makes the data, which takes minutes and is not measured. `--keep FILE`
adds every result to a file of JSON lines, and results that it holds already are not measured again. `--largest 2` leaves
out the third size. `--small` takes a hundredth of tables and pictures, which are smaller, and a tenth of the runs, to
try the program.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image, ImageFilter

from mlctl.data.builtin import synthetic
from tests.benchmarks import queries

SIZES = (1, 10, 100)
ROWS, PICTURE_BYTES, RUNS = 20_640, int(1e8), 200  # of the first size
SAMPLES_PER_S = 10
WIDTH, HEIGHT = 2016, 1512  # pixels of a picture, as a telephone's
SMALLER = 8  # divisor of the pictures' sides with --small
PICTURES_PER_CLASS, CLASSES = 12, 4  # that differ; all others differ in a comment of the file
TARGET = "median_house_value"
SPACE = ("--space", "learning_rate=1e-3..1e-2:log")
TUNING = ("--trials", "2", "--epochs", "1", "--finalists", "0", "--algorithm", "random")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Time and memory of one command at one size."""

    what: str
    size: str
    seconds: float
    peak_mb: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """One command at one size, with the environment variables that it needs."""

    what: str
    size: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    repeats: int = 1


def measure(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[float, float]:
    """Return (seconds, largest memory of the process tree in MB) of an mlctl command."""
    env = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "MLCTL_STATE_DIR": f"{folder}/state",
        **(environment or {}),
    }
    started = time.perf_counter()
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlctl", *arguments],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
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


# -- data -------------------------------------------------------------------------------------------------


def make_table(folder: Path, rows: int) -> tuple[Path, Path]:
    """Return housing with this many rows, and the same without the target; both are made if the folder lacks them."""
    file, inputs = folder / f"housing-{rows}.csv", folder / f"housing-{rows}-inputs.csv"
    if file.exists():
        return file, inputs
    source = Path(os.environ.get("MLCTL_DATA_DIR", ".")) / "housing.csv"
    table = pd.read_csv(source) if source.is_file() else synthetic.make_housing(ROWS)
    rng = np.random.default_rng(0)
    drawn = table.iloc[rng.integers(0, len(table), rows)].reset_index(drop=True)
    for name in drawn.select_dtypes("number"):
        values = drawn[name].to_numpy(float)
        drawn[name] = np.round(values + rng.normal(0, 0.01 * np.nanstd(values), rows), 4)
    drawn.drop(columns=TARGET).to_csv(inputs, index=False)
    part = file.with_suffix(".part")
    drawn.to_csv(part, index=False)
    part.rename(file)
    return file, inputs


def make_pictures(folder: Path, size_bytes: int, *, smaller: int) -> tuple[Path, int]:
    """Return a folder with so many bytes of pictures of four classes, and their number; it is made if it is absent.

    The sides of the pictures are divided by `smaller`.
    """
    target = folder / f"pictures-{size_bytes}"
    if not target.exists():
        part = target.with_suffix(".part")
        contents = [_photographs(label, HEIGHT // smaller, WIDTH // smaller) for label in range(CLASSES)]
        written = number = 0
        while written < size_bytes:
            label = number % CLASSES
            content = contents[label][number // CLASSES % PICTURES_PER_CLASS]
            comment = f"{number:08}".encode()
            # after the marker that begins the file
            content = (
                content[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + content[2:]
            )
            path = part / f"class{label}" / f"{number:06}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written += len(content)
            number += 1
        part.rename(target)
    return target, sum(1 for _ in target.rglob("*.jpg"))


def _photographs(label: int, height: int, width: int) -> list[bytes]:
    """Return pictures of a class as JPEG files: noise of a photograph's size, with a bar whose height is the class."""
    rng = np.random.default_rng(label)
    found = []
    for _ in range(PICTURES_PER_CLASS):
        pixels = rng.integers(0, 160, (height, width, 3), np.uint8)
        top = label * height // CLASSES
        pixels[top : top + height // CLASSES, width // 5 : width // 2] //= 2
        pixels[top : top + height // CLASSES, width // 5 : width // 2] += 120
        stream = BytesIO()
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.8)).save(stream, "JPEG", quality=85)
        found.append(stream.getvalue())
    return found


# -- what is measured -------------------------------------------------------------------------------------


def tables(folder: Path, times: int, scale: float) -> Iterator[Case]:
    """Yield the commands on housing at one size."""
    rows = int(ROWS * times * scale)
    file, inputs = make_table(folder, rows)
    source = ("housing", "--data", str(file))
    yield from _commands("table", f"{rows:,} rows", folder, source=source, inputs=inputs)


def pictures(folder: Path, times: int, scale: float) -> Iterator[Case]:
    """Yield the commands on a folder of pictures of one size."""
    size = int(PICTURE_BYTES * times * scale)
    source, count = make_pictures(folder, size, smaller=1 if scale == 1 else SMALLER)
    yield from _commands(
        "pictures", f"{size / 1e9:g} GB, {count:,} files", folder, source=(str(source),), inputs=source
    )


def runs(folder: Path, times: int, scale: float) -> Iterator[Case]:
    """Yield the ways of listing the runs of a store of one size."""
    count = int(RUNS * times * max(0.1, scale))
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{queries.build(folder, count)}"}
    for what, arguments in {
        "runs list": (),
        "runs list --sort": ("--sort", "-val_f1"),
        "runs list --where": ("--where", "val_f1 > 0.999", "--limit", "100"),
    }.items():
        yield Case(
            what=what,
            size=f"{count:,} runs",
            arguments=("runs", "list", *arguments),
            environment=store,
            repeats=3,
        )


def _commands(what: str, size: str, folder: Path, *, source: Sequence[str], inputs: Path) -> Iterator[Case]:
    """Yield the commands on one source; they have a store of their own, whose last run is the one to predict with."""
    name = inputs.stem
    store = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/{name}.db",
        "MLCTL_STATE_DIR": str(folder / f"{name}-state"),
    }
    answers = folder / f"{name}-answers.csv"
    answers.unlink(missing_ok=True)  # else predict would continue it
    for command, arguments in {
        "train": ("train", *source, "--epochs", "1", "--run-name", "trained"),
        "predict": ("predict", "trained", str(inputs), "--out", str(answers)),
        "tune": ("tune", *source, *SPACE, *TUNING),
    }.items():
        yield Case(what=f"{command}, {what}", size=size, arguments=(*arguments, "--yes"), environment=store)


THEMES: dict[str, Callable[[Path, int, float], Iterator[Case]]] = {
    "runs": runs,
    "tables": tables,
    "pictures": pictures,
}


def print_table(costs: Sequence[Cost]) -> None:
    """Print one Markdown row per command and size, with the factors from the size before."""
    print("| command | size | s | factor | peak MB | factor |\n| --- | --- | --- | --- | --- | --- |")
    for what in dict.fromkeys(cost.what for cost in costs):
        before: Cost | None = None
        for cost in (cost for cost in costs if cost.what == what):
            time_factor = f"{cost.seconds / before.seconds:.1f}" if before else ""
            memory_factor = f"{cost.peak_mb / before.peak_mb:.1f}" if before else ""
            print(
                f"| {what} | {cost.size} | {cost.seconds:.1f} | {time_factor} |"
                f" {cost.peak_mb:,.0f} | {memory_factor} |"
            )
            before = cost


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="for the data, up to 12 GB")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", choices=THEMES)
    parser.add_argument("--largest", type=int, choices=(1, 2, 3), default=3)
    parser.add_argument("--keep", type=Path, metavar="FILE")
    parser.add_argument("--prepare", action="store_true")
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    costs = read_costs(options.keep)
    known = {(cost.what, cost.size) for cost in costs}
    for theme in [options.only] if options.only else THEMES:
        for times in SIZES[: options.largest]:
            for case in THEMES[theme](folder, times, 0.01 if options.small else 1.0):
                if options.prepare or (case.what, case.size) in known:
                    continue
                found = [measure(case.arguments, folder, case.environment) for _ in range(case.repeats)]
                cost = Cost(what=case.what, size=case.size, seconds=min(found)[0], peak_mb=min(found)[1])
                costs.append(cost)
                print(
                    f"{cost.what}, {cost.size}: {cost.seconds:.1f} s, {cost.peak_mb:,.0f} MB", file=sys.stderr
                )
                if options.keep:
                    with options.keep.open("a") as file:
                        file.write(json.dumps(asdict(cost)) + "\n")
    print_table(costs)


def read_costs(file: Path | None) -> list[Cost]:
    """Return the results of earlier calls."""
    if file is None or not file.exists():
        return []
    return [Cost(**json.loads(line)) for line in file.read_text().splitlines()]


if __name__ == "__main__":
    main()
