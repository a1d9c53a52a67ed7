"""mlctl register."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A run, runs:/ID/model, a registered version, a folder, or s3://…."),
]
NewName = Annotated[str, typer.Argument(metavar="TEXT", help="The registered model's name, new or known.")]
Description = Annotated[str | None, typer.Option(metavar="TEXT", help="What a reader should know of it.")]
Tag = Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="Repeatable.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force", metavar="", help="Make another version of the same model; take an unfinished run's."
    ),
]


def register(
    session: Session,
    model: Model,
    name: NewName,
    description: Description = None,
    tag: Tag = None,
    force: Force = False,
) -> None:
    """Register a model as the next version of a name.

    \b
    mlctl register last Digits
    mlctl register best:test_accuracy Digits --description "trained on all data" --tag team=vision

    It must load and answer its own input example. The same model again answers with the version that exists.
    """
    from mlctl.cli.values import pairs
    from mlctl.output.progress import TrainingView
    from mlctl.services.registry import register as service

    tags = pairs("--tag", tag)
    with TrainingView() as listener:
        answer = service.register(session.settings, model, name, description, tags, force, listener)
    session.show(answer, f"next: mlctl promote {answer.name} {answer.version} Production")
