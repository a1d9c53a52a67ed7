"""mlctl recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl import output
from mlctl.cli.common_options import Session
from mlctl.cli.options import DataOption, SetOption, TargetOption
from mlctl.cli.parsing import parse_overrides, write_command
from mlctl.domain.recipes import OWN_DATA_RECIPES
from mlctl.output.progress import TrainingProgress

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe's name or a recipe file (./mine.py).")
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="New file for your recipe.")]


def list_recipes(session: Session) -> None:
    """List the installed recipes.

    \b
    mlctl recipes list
    """
    from mlctl.services.recipes import catalog

    session.show(catalog.list_recipes(), "next: mlctl recipes show digits, or mlctl train digits")


def show(session: Session, recipe: RecipeArgument) -> None:
    """Show the values that --set can change in a recipe, with their bounds.

    \b
    mlctl recipes show digits
    """
    from mlctl.services.recipes import catalog

    session.show(catalog.show(recipe), f"next: mlctl train {OWN_DATA_RECIPES.get(recipe, recipe)}")


def copy(session: Session, recipe: RecipeArgument, file: FileArgument) -> None:
    """Copy a recipe to a file that you can change.

    \b
    mlctl recipes copy mnist ./mine.py
    mlctl train ./mine.py
    """
    from mlctl.services.recipes import catalog

    path = file if file.is_absolute() else f"./{file}"
    output.hint(f"wrote {catalog.copy(recipe, file)}; next: {write_command('mlctl', 'train', path)}")


def check(
    session: Session,
    recipe: RecipeArgument,
    target: TargetOption = None,
    data: DataOption = None,
    set_: SetOption = None,
) -> None:
    """Test a recipe on 64 rows: load, encode, build, train one step, save, load and serve.

    \b
    mlctl recipes check ./mine.py
    """
    from mlctl.services.training import check_recipe

    overrides = parse_overrides(set_, target=target)
    with TrainingProgress() as listener:
        answer = check_recipe.check(session.settings, recipe, overrides, data=data, listener=listener)
    session.show(
        answer, f"next: {write_command('mlctl', 'train', recipe, target=target, data=data, set=set_)}"
    )
