"""mlctl export model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import ModelArgument
from mlctl.errors import UsageError, did_you_mean
from mlctl.output.progress import TrainingProgress
from mlctl.services.serving.exports import TARGETS
from mlctl.services.serving.exports.formats import QUANTIZATIONS

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the files.")]
ToOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="FORMAT",
        help=f"Platform or file format: {', '.join(TARGETS)}.",
        autocompletion=lambda: list(TARGETS),
    ),
]
ImageOption = Annotated[
    str | None,
    typer.Option("--image", metavar="IMAGE", help="Name of the container image (default: from the model)."),
]
HostOption = Annotated[
    str,
    typer.Option("--host", metavar="HOST", help="kubernetes: host name under which clients send requests."),
]
CpuOption = Annotated[
    str,
    typer.Option("--cpu", metavar="QUANTITY", help="kubernetes, kserve: CPU request of a pod, such as 500m."),
]
MemoryOption = Annotated[
    str,
    typer.Option(
        "--memory", metavar="QUANTITY", help="kubernetes, kserve: memory request of a pod, such as 1Gi."
    ),
]
QuantizeOption = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="NUMBERS",
        help=f"onnx, python, litert: smaller numbers: {', '.join(QUANTIZATIONS)}. int8 is calibrated with rows of the "
        "training split.",
        autocompletion=lambda: list(QUANTIZATIONS),
    ),
]
ProofOption = Annotated[
    str | None,
    typer.Option(
        "--proof",
        metavar="SOURCE",
        help="Compare the export with the model on these rows: a recipe, a table or a folder (default: the test split "
        "of the model's training).",
    ),
]
MaxLossOption = Annotated[
    float,
    typer.Option(
        "--max-loss",
        metavar="POINTS",
        min=0.0,
        help="Refuse an export whose score is worse by more points; for errors such as mae, by more percent.",
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Write the export even if its score is worse by more than --max-loss.")
]


def model(
    session: Session,
    model: ModelArgument,
    folder: FolderArgument,
    to: ToOption,
    image: ImageOption = None,
    host: HostOption = "model.example.com",
    cpu: CpuOption = "1",
    memory: MemoryOption = "1Gi",
    quantize: QuantizeOption = None,
    proof: ProofOption = None,
    max_loss: MaxLossOption = 0.5,
    force: ForceOption = False,
) -> None:
    """Write the files that serve a model elsewhere.

    \b
    mlctl export model Digits --to onnx ./digits-onnx
    mlctl export model Digits --to litert ./digits-int8 --quantize int8
    mlctl export model Digits --to docker ./image
    mlctl export model Digits --to kubernetes ./deploy --image registry/digits:3

    onnx, savedmodel, keras, litert and python write the model in another runtime's format. That runtime is then asked
    the test rows in a process of its own. The answers, the score, the size and the speed are compared with the
    model's, and are kept in proof.json and in the model's run.
    """
    from mlctl.services.serving import export_model as service
    from mlctl.services.serving.exports.base import ExportOptions

    if quantize not in (None, *QUANTIZATIONS):
        hint = did_you_mean(quantize, QUANTIZATIONS) or f"choose {', '.join(QUANTIZATIONS)}"
        raise UsageError(f"invalid value {quantize!r} for --quantize", hint)
    options = ExportOptions(
        image=image,
        host=host,
        cpu=cpu,
        memory=memory,
        quantize=quantize or "",
        max_loss=max_loss,
        proof_data=proof,
        force=force,
    )
    replace = service.is_export(folder)
    if replace:
        session.confirm(f"Replace the export in {folder}?")
    with TrainingProgress() as listener:
        exported = service.export_model(
            session.settings,
            model,
            target=to,
            folder=folder,
            options=options,
            replace=replace,
            listener=listener,
        )
    session.show(exported, f"next: read {folder}/README.md")
