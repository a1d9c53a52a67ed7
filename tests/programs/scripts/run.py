"""Run the programs of this folder plainly and under `mlctl train`, and print what each run holds.

`python tests/programs/scripts/run.py [NAME …]` prints a table with a row for each program: CPU seconds of both sides
and their ratio, and what the run holds. Options:

- `--bench`: sizes at which the training takes about a minute, so that the ratio says something about training.
- `--plain`: only the plain side. `--mlctl`: only under mlctl.
- `--seed N`: both sides with this seed; compares the values of every epoch too.
- `--keep FOLDER`: leave the working folders there, to look at them afterwards.
- `--show`: print everything that each run holds, below the table.

The data is read from MLCTL_DATA_DIR: imdb.npz, mnist.npz and housing.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("MLCTL_DATA_DIR", "data")).resolve()
HOUSING = str(DATA / "housing.csv")
PICTURES = (("s3_pictures/make_pictures.py", "pictures", "500", "64"),)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program, and what its small and its long form are started with."""

    file: str
    arguments: str = ""
    bench: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    bench_settings: dict[str, Any] = field(default_factory=dict)
    prepare: tuple[tuple[str, ...], ...] = ()
    module: bool = False
    elsewhere: bool = False

    @property
    def lines_changed(self) -> int:
        """The lines that were written for mlctl."""
        files = (HERE / self.file.partition("/")[0]).rglob("*.py")
        return sum("mlctl" in line for file in files for line in file.read_text().splitlines())

    @property
    def name(self) -> str:
        """The name by which a program is chosen: its folder, and its file if the folder has several."""
        folder, _, file = self.file.partition("/")
        several = [path for path in PROGRAMS if path.file.startswith(f"{folder}/")]
        return folder if len(several) == 1 else f"{folder}/{Path(file).stem}"

    @property
    def words(self) -> list[str]:
        """The program as Python's command line names it."""
        file = self.file.partition("/")[2]
        if self.module:
            return ["-m", file.removesuffix(".py").replace("/", ".")]
        return [str(Path("..", "program", file)) if self.elsewhere else file]


HOUSES = "--batch-size 100 --number-epochs 2 --first-layer-neurons 8 --second-layer-neurons 4"
PROGRAMS = [
    Program(
        file="s0_imdb/MlFlowModel.py",
        arguments="--epoch 3 --batchsize 100 --learningrate 0.01",
        bench="--epoch 10 --batchsize 100 --learningrate 0.01",
        settings={"REVIEWS": 1000},
        bench_settings={"REVIEWS": 4000},
    ),
    Program(
        file="s1_mnist/train.py",
        settings={"PICTURES": 1200, "EPOCHS": 2, "BATCH_SIZE": 128},
        bench_settings={"PICTURES": 12000, "EPOCHS": 5},
    ),
    Program(
        file="s2_tuner/train.py",
        settings={"TRAIN": 1000, "HELD_OUT": 300, "TRIALS": 3, "SEARCH_EPOCHS": 2, "MAX_EPOCHS": 3},
        bench_settings={"TRAIN": 10000, "HELD_OUT": 2000, "TRIALS": 4, "SEARCH_EPOCHS": 10, "MAX_EPOCHS": 20},
    ),
    Program(
        file="s3_pictures/train.py",
        settings={"NUM_EPOCHS": 2, "IMG_SIZE": 32},
        bench_settings={"NUM_EPOCHS": 20, "IMG_SIZE": 64},
        prepare=PICTURES,
    ),
    Program(
        file="s3_pictures/train_in_nested_run.py",
        settings={"NUM_EPOCHS": 2, "IMG_SIZE": 32},
        prepare=PICTURES,
    ),
    Program(
        file="s4_housing/keras_train.py",
        arguments=HOUSES,
        bench="--batch-size 50 --number-epochs 15 --first-layer-neurons 100 --second-layer-neurons 100",
        prepare=(("s4_housing/write_pickles.py", HOUSING, "3000"),),
    ),
    Program(
        file="s4_housing/keras_housing_train.py",
        arguments=f"--data {HOUSING} --batch-size 500 --first-layer-neurons 8 --second-layer-neurons 4",
        settings={"EPOCHS": 2},
    ),
    Program(
        file="keras_convnet/mnist_convnet.py",
        settings={"PICTURES": 1200, "EPOCHS": 2},
        bench_settings={"PICTURES": 12000, "EPOCHS": 8},
    ),
    Program(
        file="keras_timeseries/timeseries_classification.py",
        settings={"EPOCHS": 3, "MPLBACKEND": "Agg"},
        bench_settings={"EPOCHS": 20, "MPLBACKEND": "Agg"},
        prepare=(("keras_timeseries/make_series.py", "300", "100"),),
    ),
    Program(
        file="keras_structured/structured_data.py",
        settings={"ROWS": 600, "EPOCHS": 2},
        bench_settings={"ROWS": 20000, "EPOCHS": 30},
    ),
    Program(file="keras_vae/vae.py", settings={"PICTURES": 1000, "EPOCHS": 2}),
    Program(file="keras_gan/gan.py", settings={"PICTURES": 600, "EPOCHS": 2}),
    Program(
        file="keras_distillation/distillation.py",
        settings={"PICTURES": 1200, "FILTERS": 32, "TEACHER_EPOCHS": 2, "STUDENT_EPOCHS": 2},
        bench_settings={"PICTURES": 12000, "FILTERS": 64, "TEACHER_EPOCHS": 4, "STUDENT_EPOCHS": 4},
    ),
    Program(
        file="keras_transfer/transfer_learning.py",
        settings={"PICTURES": "pictures", "WEIGHTS": "none", "IMG_SIZE": 32, "ALPHA": 0.25, "TOP_EPOCHS": 1},
        prepare=(("s3_pictures/make_pictures.py", "pictures", "160", "32"),),
    ),
    Program(
        file="keras_transformer/text_transformer.py",
        settings={"REVIEWS": 600, "MAXLEN": 40},
        bench_settings={"REVIEWS": 4000, "MAXLEN": 200, "EPOCHS": 4},
    ),
    Program(
        file="mlflow_keras/train.py",
        settings={"PICTURES": 1200, "EPOCHS": 2},
        bench_settings={"PICTURES": 30000, "EPOCHS": 10},
    ),
    Program(file="mlflow_autolog/train.py", arguments="-e 3 -b 64 --hidden 32 16", bench="-e 60 -b 8"),
    Program(file="kt_guide/tune_hyperband.py", settings={"PICTURES": 600, "MAX_EPOCHS": 3}),
    Program(
        file="tfds_mnist/keras_example.py",
        settings={"EXAMPLES": 3000, "EPOCHS": 2},
        bench_settings={"EXAMPLES": 60000, "EPOCHS": 10},
    ),
    Program(
        file="absl_flags/main.py",
        arguments=f"--data_path={HOUSING} --train_epochs=2 --batch_size 1024 --nouse_dropout "
        "--hidden_units=16,8 --model_dir checkpoints",
        bench=f"--data_path={HOUSING} --train_epochs=30 --model_dir checkpoints",
    ),
    Program(
        file="typer_cli/train.py",
        arguments="-e 2 --lr 0.003 --augment --units 32 --units 16",
        bench="-e 100 --lr 0.001 --batch-size 16",
    ),
    Program(file="click_cli/cli.py", arguments=f"--quiet train --lr 1e-2 -n 2 {HOUSING} --hidden 8"),
    Program(
        file="package/houses/train.py",
        arguments=f"{HOUSING} --rows 3000 --epochs 3 --units 8 --no-shuffle",
        bench=f"{HOUSING} --epochs 40",
        module=True,
    ),
    Program(
        file="gradient_tape/loop.py",
        arguments="--epochs 2 --pictures 3000",
        bench="--epochs 10",
        elsewhere=True,
    ),
    Program(file="dataset_workers/train.py", arguments="--pictures 1000 --epochs 2"),
    Program(file="plain_argv/train.py", arguments="500 4 lr=0.02", bench="20000 20", elsewhere=True),
]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    cpu_s: float
    out: str
    err: str


def main() -> None:
    """Run the chosen programs and print the table."""
    options = _options()
    chosen = [one for one in PROGRAMS if not options.names or _is_named(one, options.names)]
    print("| program | lines changed | CPU plain | CPU mlctl | ratio | what the run holds |")
    print("| --- | --- | --- | --- | --- | --- |")
    details = []
    for program in chosen:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
            root = Path(options.keep, program.name.replace("/", "-")) if options.keep else Path(temporary)
            shutil.rmtree(root, ignore_errors=True)
            sides, held = measure(program, root, options)
        cpu = {side: ended.cpu_s for side, ended in sides.items()}
        ratio = f"{cpu['mlctl'] / cpu['plain']:.2f}" if len(cpu) == 2 else ""
        cells = [*(f"{cpu[side]:.1f}" if side in cpu else "" for side in ("plain", "mlctl")), ratio]
        failed = {side: ended for side, ended in sides.items() if ended.code}
        text = "; ".join(
            f"{side} ended with {ended.code}: {_last(ended.err)}" for side, ended in failed.items()
        )
        text = "; ".join(filter(None, [text, summary(held) if held else ""]))
        print("|", " | ".join([program.name, str(program.lines_changed), *cells, text]), "|", flush=True)
        details.append({"program": program.name, **held})
    if options.show:
        print(json.dumps(details, indent=1))


def measure(
    program: Program, root: Path, options: argparse.Namespace
) -> tuple[dict[str, Ended], dict[str, Any]]:
    """Run a program's sides in folders of their own; return how each ended, and what the store of mlctl's holds."""
    arguments = (program.bench or program.arguments) if options.bench else program.arguments
    settings = program.bench_settings or program.settings if options.bench else program.settings
    sides: dict[str, Ended] = {}
    for side in ("plain", "mlctl"):
        if getattr(options, {"plain": "mlctl", "mlctl": "plain"}[side]):
            continue
        folder = _folder(program, root / side)
        environment = _environment(folder, settings)
        for file, *words in program.prepare:
            prepared = run([sys.executable, str(HERE / file), *words], folder, environment)
            if prepared.code:
                sys.exit(prepared.err)
        head = [sys.executable]
        if side == "plain" and options.seed is not None:
            head += [str(HERE / "seeded.py"), str(options.seed)]
        if side == "mlctl":
            head += ["-m", "mlctl", "train"]
        words = list(program.words)
        if side == "mlctl" and options.seed is not None:
            words += ["--seed", str(options.seed)]
        words += [*(["--"] if side == "mlctl" and arguments else []), *arguments.split()]
        sides[side] = run([*head, *words], folder, environment)
        (root / f"{side}.out").write_text(sides[side].out)
        (root / f"{side}.err").write_text(sides[side].err)
    held = (
        {"stores": [holding(file) for file in sorted((root / "mlctl").rglob("*.db"))]}
        if "mlctl" in sides
        else {}
    )
    if options.seed is not None and len(sides) == 2:
        held["history"] = difference(root, held)
    return sides, held


def run(command: list[str], folder: Path, environment: dict[str, str]) -> Ended:
    """Run a command, and return its CPU seconds with those of the processes that it started and waited for."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read())
    return Ended(process.returncode, usage.ru_utime + usage.ru_stime, *texts)


def holding(store: Path) -> dict[str, Any]:
    """Return what a store holds."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{store}")
    experiments = {one.experiment_id: one.name for one in client.search_experiments()}
    runs = []
    for found in client.search_runs(list(experiments), max_results=200):
        tags = dict(found.data.tags)
        runs.append(
            {
                "id": found.info.run_id,
                "experiment": experiments[found.info.experiment_id],
                "name": found.info.run_name,
                "status": found.info.status,
                "parent": tags.get("mlflow.parentRunId"),
                "params": dict(found.data.params),
                "metrics": {
                    name: [
                        (point.step, point.value)
                        for point in client.get_metric_history(found.info.run_id, name)
                    ]
                    for name in found.data.metrics
                },
                "tags": tags,
                "artifacts": sorted(_files(client, found.info.run_id, "")),
                "inputs": [(one.dataset.name, one.dataset.digest) for one in found.inputs.dataset_inputs],
            }
        )
    models = [
        {"name": one.name, "run": one.source_run_id, "status": str(one.status)}
        for one in client.search_logged_models(list(experiments))
    ]
    versions = [f"{one.name}/{one.version}" for one in client.search_model_versions()]
    return {"file": store.name, "runs": runs, "models": models, "versions": versions}


def summary(held: dict[str, Any]) -> str:
    """Return what a reader of the table wants to know about the runs."""
    parts = []
    for store in held["stores"]:
        parents = [one for one in store["runs"] if not one["parent"]]
        nested = len(store["runs"]) - len(parents)
        if not store["runs"]:
            continue
        parts.append(
            f"{store['file']}: {len(parents)} run(s), {nested} nested, {len(store['models'])} model(s)"
        )
        for one in parents:
            points = [f"{name} x{len(values)}" for name, values in sorted(one["metrics"].items())]
            twice = [
                name
                for name, values in one["metrics"].items()
                if len({step for step, _ in values}) < len(values)
            ]
            tags = one["tags"]
            parts += [
                f"{one['name']} {one['status']} in {one['experiment']}",
                f"{len(one['params'])} params",
                ", ".join(points),
                f"TWICE: {twice}" if twice else "",
                f"data {tags.get('mlctl.data.sha256', 'no digest')[:12]}",
                f"served by {tags.get('mlctl.runtime', 'nothing')} {tags.get('mlctl.runtime_reason', '')}".strip(),
            ]
        if store["versions"]:
            parts.append(f"registered {store['versions']}")
    if "history" in held:
        parts.append(held["history"])
    return "; ".join(filter(None, parts))


def difference(root: Path, held: dict[str, Any]) -> str:
    """Return how far the values of the epochs are from those of the plain side."""
    file = root / "plain" / "history.json"
    if not file.is_file():
        return "no history of the plain side"
    expected = json.loads(file.read_text())
    logged: dict[str, list[float]] = {}
    for store in held["stores"]:
        for one in store["runs"]:
            for name, points in one["metrics"].items():
                logged.setdefault(name, []).extend(value for _, value in points)
    worst, missing = 0.0, []
    for fit in expected:
        for name, values in fit.items():
            for value in values:
                near = min((abs(value - other) for other in logged.get(name, [])), default=None)
                if near is None:
                    missing.append(name)
                else:
                    worst = max(worst, near)
    text = f"values differ by up to {worst:.1e}"
    return f"{text}, missing: {sorted(set(missing))}" if missing else text


def _folder(program: Program, folder: Path) -> Path:
    """Copy a program; return the directory where its user stands."""
    name = "program" if program.elsewhere else "here"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(HERE / program.file.partition("/")[0], folder / name, ignore=ignored)
    keras_home = folder / "keras" / "datasets"
    keras_home.mkdir(parents=True)
    for data in DATA.glob("*.npz"):
        (keras_home / data.name).symlink_to(data)
    stand = folder / ("elsewhere" if program.elsewhere else "here")
    stand.mkdir(exist_ok=True)
    return stand


def _environment(folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    """Return an environment with a store, a state folder and Keras's data of the program's own."""
    base = folder.parent
    return {
        **os.environ,
        "KERAS_HOME": str(base / "keras"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE / "stand_ins"), os.environ.get("PYTHONPATH")])),
        "MNIST": str(DATA / "mnist.npz"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{base}/mlflow.db",
        "TRACKING_SERVER": f"sqlite:///{base}/own.db",
        "XDG_STATE_HOME": str(base / "state"),
        "HISTORY": str(base / "history.json"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **{name: str(value) for name, value in settings.items()},
    }


def _files(client: Any, run_id: str, folder: str) -> list[str]:
    found = []
    for one in client.list_artifacts(run_id, folder or None):
        found += _files(client, run_id, one.path) if one.is_dir else [one.path]
    return found


def _last(text: str) -> str:
    return ([line for line in text.strip().splitlines() if line.strip()] or [""])[-1][:200].replace("|", "/")


def _is_named(program: Program, names: list[str]) -> bool:
    return any(program.name == name or program.file.startswith(f"{name}/") for name in names)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--bench", action="store_true", help="long forms of the programs")
    parser.add_argument("--plain", action="store_true", help="only the plain side")
    parser.add_argument("--mlctl", action="store_true", help="only the side under mlctl")
    parser.add_argument("--seed", type=int, help="set this seed on both sides, and compare the values")
    parser.add_argument("--keep", help="folder that keeps the working folders")
    parser.add_argument("--show", action="store_true", help="print everything that the runs hold")
    return parser.parse_args()


if __name__ == "__main__":
    main()
