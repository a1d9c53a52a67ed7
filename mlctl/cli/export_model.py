"""mlctl export model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import ModelArgument
from mlctl.services.serving.exports import TARGETS

FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the files.")]
ToOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="TARGET",
        help=f"What to export for: {', '.join(TARGETS)}.",
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


def model(
    session: Session,
    model: ModelArgument,
    folder: FolderArgument,
    to: ToOption,
    image: ImageOption = None,
    host: HostOption = "model.example.com",
    cpu: CpuOption = "1",
    memory: MemoryOption = "1Gi",
) -> None:
    """Write the files that serve a model elsewhere.

    \b
    mlctl export model Digits --to docker ./image
    mlctl export model Digits --to kubernetes ./deploy --image registry/digits:3
    mlctl export model Digits --to kserve ./kserve --image registry/digits:3
    """
    from mlctl.services.serving.export_model import export_model
    from mlctl.services.serving.exports.base import ExportOptions

    options = ExportOptions(image=image, host=host, cpu=cpu, memory=memory)
    exported = export_model(session.settings, model, target=to, folder=folder, options=options)
    session.show(exported, f"next: read {folder}/README.md")
