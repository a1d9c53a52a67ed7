"""mlctl train."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mlctl.cli.cluster import Cluster, Cpu, Gpu, Memory, SharedStorage
from mlctl.cli.common_options import Session
from mlctl.cli.options import Experiment, SourceArgument, Target

HOW, WHERE = "How it is trained", "How it is recorded"


class Precision(StrEnum):
    """The arithmetic that a model is trained in; it is logged in float32 whatever it was."""

    auto = "auto"
    float32 = "float32"
    mixed_bfloat16 = "mixed_bfloat16"


Epochs = Annotated[int | None, typer.Option(help="Passes over the data.", rich_help_panel=HOW)]
BatchSize = Annotated[int | None, typer.Option(help="Examples a step.", rich_help_panel=HOW)]
LearningRate = Annotated[float | None, typer.Option(help="The optimizer's step.", rich_help_panel=HOW)]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any value of mlctl recipes show; repeatable.",
        rich_help_panel=HOW,
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seeds weights, order and dropout.", rich_help_panel=HOW)]
Patience = Annotated[
    int | None,
    typer.Option(min=1, help="Stop after so many epochs without a better one.", rich_help_panel=HOW),
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="A file, a folder, s3://… or synthetic, in place of the usual data.",
        rich_help_panel=HOW,
    ),
]
Rows = Annotated[int | None, typer.Option(min=100, help="Size of synthetic data.", rich_help_panel=HOW)]
PrecisionOption = Annotated[
    Precision, typer.Option(help="auto: bfloat16 where it is faster and safe.", rich_help_panel=HOW)
]
RunName = Annotated[str | None, typer.Option(metavar="NAME", help="The run's name.", rich_help_panel=WHERE)]
Tag = Annotated[
    list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Repeatable.", rich_help_panel=WHERE)
]
Register = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Register the model under this name.", rich_help_panel=WHERE),
]
Parent = Annotated[
    str | None, typer.Option(metavar="RUN", help="Nest the run under another.", rich_help_panel=WHERE)
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Keep the run on this machine, for mlctl sync.", rich_help_panel=WHERE),
]
CheckpointEvery = Annotated[
    str,
    typer.Option(
        metavar="DURATION", help="How often the store gets a copy to resume from.", rich_help_panel=WHERE
    ),
]


def train(
    session: Session,
    source: SourceArgument,
    target: Target = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    set_: Set = None,
    data: Data = None,
    rows: Rows = None,
    seed: Seed = 0,
    patience: Patience = None,
    precision: PrecisionOption = Precision.auto,
    experiment: Experiment = None,
    run_name: RunName = None,
    tag: Tag = None,
    register: Register = None,
    parent: Parent = None,
    offline: Offline = False,
    checkpoint_every: CheckpointEvery = "60s",
    cluster: Cluster = None,
    storage: SharedStorage = None,
    cpu: Cpu = None,
    gpu: Gpu = None,
    memory: Memory = None,
) -> None:
    """Train a recipe and log the model to MLflow.

    \b
    mlctl train digits
    mlctl train imdb --epochs 10 --set units=64
    mlctl train titanic.csv --target Survived
    mlctl train ./mine.py --data ./my-data --register Mine
    mlctl train imdb --cluster ray://head:10001 --storage s3://bucket/training
    """
    from mlctl.cli.cluster import place
    from mlctl.cli.values import pairs, seconds
    from mlctl.output.progress import TrainingView
    from mlctl.services.training.request import Request
    from mlctl.services.workflows.train import train as train_model

    typed = {"target": target, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    given = {**pairs("--set", set_), **{name: value for name, value in typed.items() if value is not None}}
    with TrainingView() as view:
        run = train_model(
            session.settings,
            Request(
                source, given, data, rows, seed, patience, precision.value, run_name,
                pairs("--tag", tag), register, parent, offline, seconds(checkpoint_every),
            ),
            view,
            place(cluster, storage, cpu, gpu, memory),
        )  # fmt: skip
    session.show(run, f"next: {run.next_command}")
