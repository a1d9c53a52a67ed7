"""mlctl export model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session


def model(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As mlctl serve has it.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go: a new folder.")],
    to: Annotated[str, typer.Option("--to", metavar="KIND", help="docker, kubernetes or azureml.")],
    image: Annotated[str | None, typer.Option(metavar="IMAGE", help="The image's name.")] = None,
    host: Annotated[
        str, typer.Option(metavar="NAME", help="kubernetes: the name it is reached by.")
    ] = "model.example.com",
    cpu: Annotated[str, typer.Option(help="kubernetes: cores a pod asks for.")] = "1",
    memory: Annotated[str, typer.Option(help="kubernetes: memory of a pod.")] = "1Gi",
) -> None:
    r"""Write what serves a model somewhere else.

    \b
    mlctl export model Digits --to docker ./image
    mlctl export model Digits --to kubernetes ./deploy --image registry.example.com/digits:3
    """
    from mlctl.services.serving.export_model import export

    exported = export(session.settings, model, to, folder, image, host, cpu, memory)
    session.show(exported, f"next: read {folder}/README.md")
