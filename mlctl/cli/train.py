"""mlctl train."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mlctl.cli.cluster_options import (
    ClusterOption,
    CpuOption,
    GpuOption,
    MemoryOption,
    StorageOption,
    WorkersOption,
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
    ReportOption,
    RowsOption,
    RunNameOption,
    SeedOption,
    SetOption,
    SourceArgument,
    TagOption,
    TargetOption,
    TestOption,
    ValidationOption,
)
from mlctl.cli.parsing import parse_overrides, parse_pairs
from mlctl.cli.script_options import (
    Keep,
    ModuleOption,
    ScriptArguments,
    ScriptOption,
    refuse_arguments,
    script_request,
)
from mlctl.output.next_steps import next_command
from mlctl.output.progress import TrainingProgress
from mlctl.units import parse_duration

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
FoldsOption = Annotated[
    int | None,
    typer.Option(
        "--folds",
        metavar="N",
        min=2,
        max=20,
        help="Score by cross-validation in N parts, then train the model on all rows.",
        rich_help_panel=TRAINING,
    ),
]
ParentOption = Annotated[
    str | None,
    typer.Option("--parent", metavar="RUN", help="Nest the run below this run.", rich_help_panel=RECORDING),
]
KeepOption = Annotated[
    Keep | None,
    typer.Option(
        "--keep",
        help="Log the weights of the best or of the last epoch (default: the best).",
        rich_help_panel=SCRIPT,
    ),
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
NotifyOption = Annotated[
    bool | None,
    typer.Option(
        "--notify/--no-notify",
        help="Tell the receiver in mlctl.toml how the run ends (default: if its events have the run's).",
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
    validation: ValidationOption = None,
    test: TestOption = None,
    folds: FoldsOption = None,
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
    report: ReportOption = None,
    parent: ParentOption = None,
    offline: OfflineOption = False,
    checkpoint_every: CheckpointEveryOption = "60s",
    notify: NotifyOption = None,
    cluster: ClusterOption = None,
    storage: StorageOption = None,
    cpu: CpuOption = None,
    gpu: GpuOption = None,
    memory: MemoryOption = None,
    workers: WorkersOption = None,
    module: ModuleOption = False,
    script: ScriptOption = None,
    objective: ObjectiveOption = None,
    keep: KeepOption = None,
    model: ModelNameOption = None,
) -> None:
    """Train a recipe or run your own Keras script, and log the model to MLflow.

    \b
    mlctl train digits
    mlctl train imdb --epochs 10 --set units=64
    mlctl train titanic.csv --target Survived
    mlctl train titanic.csv --target Survived --folds 5
    mlctl train train.py -- --lr 1e-3
    mlctl train ./mine.py --data ./my-data --register Mine
    mlctl train imdb --cluster ray://head:10001 --storage s3://bucket/training
    mlctl train digits --cluster local:2 --workers 2
    """
    from mlctl.recipes.declares import is_script
    from mlctl.services.training.request import TrainRequest
    from mlctl.services.workflows import train as service
    from mlctl.services.workflows.train_script import train_script

    nodes = parse_cluster(cluster, storage=storage, cpu=cpu, gpu=gpu, memory=memory, workers=workers)
    recording: dict[str, Any] = {
        "patience": patience,
        "run_name": run_name,
        "tags": parse_pairs("--tag", tag),
        "register": register,
        "parent": parent,
        "offline": offline,
        "checkpoint_every_s": parse_duration(checkpoint_every),
    }
    settings = session.settings.with_notify(notify)
    with TrainingProgress() as listener:
        if is_script(source, module=module, script=script):
            script_asked = script_request(
                source,
                arguments,
                module=module,
                refused={
                    "--target": target,
                    "--validation": validation,
                    "--test": test,
                    "--folds": folds,
                    "--data": data,
                    "--rows": rows,
                    "--learning-rate": learning_rate,
                    "--set": set_,
                    "--precision": None if precision == Precision.auto else precision,
                    "--workers": workers,
                },
                epochs=epochs,
                batch_size=batch_size,
                seed=seed,
                objective=objective,
                keep=(keep or Keep.best).value,
                model=model,
                **recording,
            )
            run = train_script(settings, script_asked, listener, nodes)
        else:
            refuse_arguments(arguments, {"--objective": objective, "--keep": keep, "--model": model})
            overrides = parse_overrides(
                set_,
                target=target,
                validation=validation,
                test=test,
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
            )
            request = TrainRequest(
                source=source,
                overrides=overrides,
                data=data,
                rows=rows,
                seed=seed or 0,
                precision=precision.value,
                folds=folds,
                **recording,
            )
            run = service.train(settings, request, listener, nodes)
    session.show(run, f"next: {next_command(run)}")
