"""mlctl register."""

from __future__ import annotations

from shlex import quote
from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import RECORDING, ModelArgument, TagOption
from mlctl.cli.parsing import parse_pairs
from mlctl.output.progress import TrainingProgress

NewNameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the registered model: a new or an existing one.")
]
DescriptionOption = Annotated[
    str | None,
    typer.Option(
        "--description", metavar="TEXT", help="Description of what the model does.", rich_help_panel=RECORDING
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Register the model of an unfinished run, or register the same model as another version.",
    ),
]


def register(
    session: Session,
    model: ModelArgument,
    name: NewNameArgument,
    description: DescriptionOption = None,
    tag: TagOption = None,
    force: ForceOption = False,
) -> None:
    """Register a model as a new version of a name.

    \b
    mlctl register last Digits
    mlctl register best:test_accuracy Digits --tag team=vision

    The model must load and answer its own input example. If this model is a version of the name already, mlctl shows
    that version.
    """
    from mlctl.services.registry import register as service

    tags = parse_pairs("--tag", tag)
    with TrainingProgress() as listener:
        answer = service.register_model(
            session.settings, model, name, description=description, tags=tags, force=force, listener=listener
        )
    session.show(answer, f"next: mlctl promote {quote(answer.name)} {answer.version} Production")
