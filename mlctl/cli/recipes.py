"""mlctl recipes: what can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.session import Session, answering

app = typer.Typer(no_args_is_help=True, help="List, show and copy what can be trained.")

Name = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name, or a recipe file.")]


@app.command("list")
@answering
def list_(session: Session) -> None:
    """List the recipes that are installed.

    mlctl recipes list
    """
    from mlctl.services import recipes

    session.show(recipes.list_recipes(), "next: mlctl recipes show digits, or mlctl train digits")


@app.command()
@answering
def show(session: Session, recipe: Name) -> None:
    """Show what can be set on a recipe, with its bounds.

    mlctl recipes show digits
    """
    from mlctl.services import recipes

    session.show(recipes.show(recipe), f"next: mlctl train {recipe}")


@app.command()
@answering
def copy(
    session: Session, recipe: Name, file: Annotated[Path, typer.Argument(help="Where your own begins.")]
) -> None:
    """Copy a recipe to a file that is yours to change.

    mlctl recipes copy mnist ./mine.py
    mlctl train ./mine.py
    """
    from mlctl import output
    from mlctl.services import recipes

    output.hint(f"wrote {recipes.copy(recipe, file)}; next: mlctl train ./{file}")
