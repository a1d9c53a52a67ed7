"""mlctl train."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from mlctl.cli.cluster_options import (
    ClusterOption,
    CpuOption,
    GpuOption,
    MemoryOption,
    StorageOption,
    parse_cluster,
)
from mlctl.cli.common_options import Session
from mlctl.cli.options import (
    RECORDING,
    SCRIPT,
    TRAINING,
    DataOption,
    EpochsOption,
    ExperimentOption,
    ObjectiveOption,
    Precision,
    PrecisionOption,
    RegisterOption,
    RowsOption,
    RunNameOption,
    SeedOption,
    SetOption,
    SourceArgument,
    TagOption,
    TargetOption,
)
from mlctl.cli.parsing import parse_overrides, parse_pairs
from mlctl.cli.script_options import ModuleOption, ScriptArguments, ScriptOption, refuse
from mlctl.output.next_steps import next_command
from mlctl.output.progress import TrainingProgress
from mlctl.units import parse_duration


class Keep(StrEnum):
    """The epoch whose weights a script's run logs."""

    best = "best"
    last = "last"


BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size", help="Examples per training step (default: the recipe's).", rich_help_panel=TRAINING
    ),
]
LearningRateOption = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        help="Learning rate of the optimizer (default: the recipe's).",
        rich_help_panel=TRAINING,
    ),
]
PatienceOption = Annotated[
    int | None,
    typer.Option(
        "--patience",
        min=1,
        help="Stop after this many epochs without improvement (default: never).",
        rich_help_panel=TRAINING,
    ),
]
ParentOption = Annotated[
    str | None,
    typer.Option("--parent", metavar="RUN", help="Nest the run below this run.", rich_help_panel=RECORDING),
]
KeepOption = Annotated[
    Keep,
    typer.Option("--keep", help="Log the weights of the best or of the last epoch.", rich_help_panel=SCRIPT),
]
ModelNameOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="TEXT",
        help="Name of the Keras model to log (default: the one that was trained last).",
        rich_help_panel=SCRIPT,
    ),
]
OfflineOption = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="Record the run on this machine only; mlctl sync sends it later.",
        rich_help_panel=RECORDING,
    ),
]
CheckpointEveryOption = Annotated[
    str,
    typer.Option(
        "--checkpoint-every",
        metavar="DURATION",
        help="How often to copy a checkpoint to the tracking store, so that another machine can resume.",
        rich_help_panel=RECORDING,
    ),
]


def train(
    session: Session,
    source: SourceArgument,
    arguments: ScriptArguments = None,
    target: TargetOption = None,
    data: DataOption = None,
    rows: RowsOption = None,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = None,
    learning_rate: LearningRateOption = None,
    set_: SetOption = None,
    seed: SeedOption = None,
    patience: PatienceOption = None,
    precision: PrecisionOption = Precision.auto,
    experiment: ExperimentOption = None,
    run_name: RunNameOption = None,
    tag: TagOption = None,
    register: RegisterOption = None,
    parent: ParentOption = None,
    offline: OfflineOption = False,
    checkpoint_every: CheckpointEveryOption = "60s",
    cluster: ClusterOption = None,
    storage: StorageOption = None,
    cpu: CpuOption = None,
    gpu: GpuOption = None,
    memory: MemoryOption = None,
    module: ModuleOption = False,
    script: ScriptOption = None,
    objective: ObjectiveOption = None,
    keep: KeepOption = Keep.best,
    model: ModelNameOption = None,
) -> None:
    """Train a recipe or run your own Keras script, and log the model to MLflow.

    \b
    mlctl train digits
    mlctl train imdb --epochs 10 --set units=64
    mlctl train titanic.csv --target Survived
    mlctl train train.py -- --lr 1e-3
    mlctl train ./mine.py --data ./my-data --register Mine
    mlctl train imdb --cluster ray://head:10001 --storage s3://bucket/training
    """
    from mlctl.services.training.request import TrainRequest
    from mlctl.services.workflows import train as service
    from mlctl.services.workflows import train_script

    nodes = parse_cluster(cluster, storage=storage, cpu=cpu, gpu=gpu, memory=memory)
    if train_script.is_script(source, module=module, script=script):
        refuse(
            "a script",
            "give it to the script itself, after --",
            {
                "--target": target,
                "--data": data,
                "--rows": rows,
                "--learning-rate": learning_rate,
                "--set": set_,
            },
        )
        from mlctl.domain.script import ScriptRequest

        script_request = ScriptRequest(
            script="" if module else source,
            module=source if module else "",
            arguments=tuple(arguments or ()),
            folder=os.getcwd(),
            epochs=epochs,
            batch_size=batch_size,
            patience=patience,
            seed=seed,
            objective=objective,
            keep=keep.value,
            model=model,
            run_name=run_name,
            tags=parse_pairs("--tag", tag),
            register=register,
            parent=parent,
            offline=offline,
            checkpoint_every_s=parse_duration(checkpoint_every),
        )
        with TrainingProgress() as listener:
            run = train_script.train_script(session.settings, script_request, listener, nodes)
        session.show(run, f"next: {next_command(run)}")
        return
    refuse(
        "a recipe",
        "only a script takes it",
        {"--objective": objective, "--model": model, " ".join(arguments or ()): arguments},
    )
    request = TrainRequest(
        source=source,
        overrides=parse_overrides(
            set_, target=target, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate
        ),
        data=data,
        rows=rows,
        seed=seed or 0,
        patience=patience,
        precision=precision.value,
        run_name=run_name,
        tags=parse_pairs("--tag", tag),
        register=register,
        parent=parent,
        offline=offline,
        checkpoint_every_s=parse_duration(checkpoint_every),
    )
    with TrainingProgress() as listener:
        run = service.train(session.settings, request, listener, nodes)
    session.show(run, f"next: {next_command(run)}")
