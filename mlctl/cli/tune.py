"""mlctl tune."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mlctl.cli.cluster import Cluster, Cpu, Gpu, Memory, SharedStorage
from mlctl.cli.common_options import Session
from mlctl.cli.options import Experiment, SourceArgument, Target
from mlctl.cli.train import Data, Epochs, Precision, PrecisionOption, Register, Rows, RunName, Seed, Set, Tag

WHAT, LONG, HOW = "What is searched", "How long", "How it is run"


class Algorithm(StrEnum):
    """Which of KerasTuner's oracles chooses the values."""

    random = "random"
    grid = "grid"
    bayesian = "bayesian"
    hyperband = "hyperband"


Space = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=WHAT",
        help="16..64:16, 1e-4..1e-1:log, adam|sgd, or one value; repeatable.",
        rich_help_panel=WHAT,
    ),
]
Objective = Annotated[
    str | None,
    typer.Option(
        metavar="min:METRIC", help="min:val_mae, max:val_f1; default: the recipe's.", rich_help_panel=WHAT
    ),
]
AlgorithmOption = Annotated[Algorithm, typer.Option(help="Who chooses the values.", rich_help_panel=WHAT)]
Trials = Annotated[
    int,
    typer.Option(
        min=0, help="At most so many trials; 0: 10, or all of hyperband's brackets.", rich_help_panel=LONG
    ),
]
Executions = Annotated[
    int,
    typer.Option(
        "--executions-per-trial",
        min=1,
        help="Train each trial so often, with seeds in a row; the mean counts.",
        rich_help_panel=LONG,
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        metavar="10m",
        help="Search for so long: 90s, 10m, 2h; then comes the final model.",
        rich_help_panel=LONG,
    ),
]
Stop = Annotated[
    str | None,
    typer.Option(
        metavar="RULE",
        help="bandit:slack=0.1,interval=2,delay=1 or bandit:amount=… or median:delay=1.",
        rich_help_panel=LONG,
    ),
]
Finalists = Annotated[
    int,
    typer.Option(
        min=0,
        help="So many are trained until validation stands still; 0: the best as it was.",
        rich_help_panel=LONG,
    ),
]
MaxFailures = Annotated[
    int, typer.Option(min=1, help="So many failed trials in a row end the search.", rich_help_panel=LONG)
]
Parallel = Annotated[
    int, typer.Option("--parallel", "-P", min=0, help="Trials at once; 0: one a core.", rich_help_panel=HOW)
]
Threads = Annotated[
    int, typer.Option(min=0, help="Threads a trial; 0: the cores shared out.", rich_help_panel=HOW)
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show the space and the first trials.", rich_help_panel=HOW)
]


def tune(
    session: Session,
    source: SourceArgument,
    target: Target = None,
    algorithm: AlgorithmOption = Algorithm.random,
    space: Space = None,
    objective: Objective = None,
    set_: Set = None,
    epochs: Epochs = None,
    data: Data = None,
    rows: Rows = None,
    trials: Trials = 0,
    executions: Executions = 1,
    timeout: Timeout = None,
    stop: Stop = None,
    finalists: Finalists = 1,
    max_failures: MaxFailures = 3,
    parallel: Parallel = 0,
    threads: Threads = 0,
    seed: Seed = 0,
    precision: PrecisionOption = Precision.auto,
    experiment: Experiment = None,
    run_name: RunName = None,
    tag: Tag = None,
    register: Register = None,
    dry_run: DryRun = False,
    cluster: Cluster = None,
    storage: SharedStorage = None,
    cpu: Cpu = None,
    gpu: Gpu = None,
    memory: Memory = None,
) -> None:
    r"""Search a recipe's hyperparameters and log the best model.

    \b
    mlctl tune digits --trials 8
    mlctl tune mnist-mlp --algorithm bayesian --executions-per-trial 2 \
        --space units=16..64:16 --space 'optimizer=rmsprop|adam'
    mlctl tune housing -P 4 --stop bandit:slack=0.1 --space units=2..12:2
    mlctl tune titanic.csv --target Survived --timeout 10m --register Titanic
    mlctl tune imdb --cluster ray://head:10001 --storage s3://bucket/tuning --cpu 2
    """
    from mlctl.cli.cluster import place
    from mlctl.cli.values import pairs, seconds
    from mlctl.output.search import SearchView
    from mlctl.services.workflows import tune as service

    typed = {"target": target, "epochs": epochs}
    given = {**pairs("--set", set_), **{name: value for name, value in typed.items() if value is not None}}
    request = service.SearchRequest(
        source, algorithm.value, trials, executions, parallel, threads,
        seconds(timeout) if timeout is not None else None, given, pairs("--space", space), objective, stop,
        finalists, max_failures, data, rows, seed, precision.value, run_name, pairs("--tag", tag), register,
        place(cluster, storage, cpu, gpu, memory),
    )  # fmt: skip
    if dry_run:
        session.show(service.plan(session.settings, request), f"next: mlctl tune {source} …, without -n")
        return
    with SearchView() as view:
        search = service.tune(session.settings, request, view)
    session.show(search, f"next: {search.run.next_command}")
