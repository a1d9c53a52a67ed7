"""mlctl models: what is registered, who held what and when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session, with_common_options
from mlctl.cli.promote import Name
from mlctl.cli.register import Description, Tag

app = typer.Typer(no_args_is_help=True, help="List, show, compare and tidy registered models.")

SomeVersion = Annotated[
    str | None, typer.Argument(metavar="VERSION", help="One of its versions; default: all of it.")
]
OneStage = Annotated[
    str | None, typer.Option("--stage", metavar="STAGE", help="Only the moves of this stage.")
]
At = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Up to this time: 2026-11-01T12:00, local unless it has a zone; a bare date means its end.",
    ),
]
Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="NAME (its Production version), NAME@alias, NAME/3, a run, or an address."
    ),
]
Dir = Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.")]


@app.command("list")
@with_common_options
def list_(session: Session) -> None:
    """List registered models: their versions, who holds what, and what they reached.

    \b
    mlctl models list
    mlctl models list -o json
    """
    from mlctl.services.registry import models

    answer = models.list_models(session.settings)
    hint = "next: mlctl models show NAME" if answer.models else "next: mlctl register last NAME"
    session.show(answer, hint)


@app.command()
@with_common_options
def show(session: Session, name: Name, version: SomeVersion = None) -> None:
    """Show a registered model, or where one version comes from and what it takes.

    \b
    mlctl models show Digits
    mlctl models show Digits 2
    """
    from mlctl.services.registry import models

    answer = models.show(session.settings, name, version)
    session.show(
        answer, f"next: mlctl serve {name}/{version}" if version else f"next: mlctl models show {name} 1"
    )


@app.command()
@with_common_options
def diff(
    session: Session,
    name: Name,
    a: Annotated[str, typer.Argument(metavar="VERSION", help="One version.")],
    b: Annotated[str, typer.Argument(metavar="VERSION", help="Another.")],
) -> None:
    """Show what differs between two versions, and nothing else.

    \b
    mlctl models diff Digits 1 2
    """
    from mlctl.services.registry import models

    session.show(models.diff(session.settings, name, a, b), f"next: mlctl promote {name} {b} Production")


@app.command()
@with_common_options
def history(session: Session, name: Name, stage: OneStage = None, at: At = None) -> None:
    """Show who moved which version where, when and why; with --at, what was true then.

    \b
    mlctl models history Digits
    mlctl models history Digits --stage Production --at 2026-11-01T12:00
    """
    from mlctl.services.registry import models

    session.show(models.history(session.settings, name, stage, at), f"next: mlctl models show {name}")


@app.command("set")
@with_common_options
def set_(
    session: Session,
    name: Name,
    version: SomeVersion = None,
    description: Description = None,
    tag: Tag = None,
) -> None:
    """Describe and tag a registered model, or one version of it.

    \b
    mlctl models set Digits --description "handwritten digits"
    mlctl models set Digits 2 --tag reviewed=yes
    """
    from mlctl.cli.values import pairs
    from mlctl.services.registry import models, register

    register.annotate(session.settings, name, version, description, pairs("--tag", tag))
    session.show(models.show(session.settings, name, version))


@app.command()
@with_common_options
def delete(session: Session, name: Name, version: SomeVersion = None) -> None:
    """Delete a version, or a model with its history; one that holds a stage is refused.

    \b
    mlctl models delete Digits 1
    mlctl models delete Digits --yes

    Runs and their models stay.
    """
    from mlctl.services.registry import models

    found = models.deletable(session.settings, name, version)
    what = f"version {version}" if version else f"all {len(found.versions)} versions and the history"
    session.confirm(f"Delete {what} of {name}?")
    session.show(models.delete(session.settings, name, version), "next: mlctl models list")


@app.command()
@with_common_options
def download(session: Session, model: Model, folder: Dir) -> None:
    """Copy a model's folder to this disk.

    \b
    mlctl models download Digits ./digits-model
    mlctl models download Digits/2 ./digits-2
    """
    from mlctl.services.registry import models

    session.show(models.download(session.settings, model, folder), f"next: mlctl serve {folder}")
