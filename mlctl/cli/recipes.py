"""mlctl recipes: what can be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session, with_common_options
from mlctl.cli.options import Target

app = typer.Typer(no_args_is_help=True, help="List, show, copy and check what can be trained.")

Name = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name, or a recipe file.")]


@app.command("list")
@with_common_options
def list_(session: Session) -> None:
    """List the recipes that are installed.

    mlctl recipes list
    """
    from mlctl.services.recipes import catalog

    session.show(catalog.list_recipes(), "next: mlctl recipes show digits, or mlctl train digits")


@app.command()
@with_common_options
def show(session: Session, recipe: Name) -> None:
    """Show what can be set on a recipe, with its bounds.

    mlctl recipes show digits
    """
    from mlctl.services.recipes import catalog

    session.show(catalog.show(recipe), f"next: mlctl train {recipe}")


@app.command()
@with_common_options
def copy(
    session: Session, recipe: Name, file: Annotated[Path, typer.Argument(help="Where your own begins.")]
) -> None:
    """Copy a recipe to a file that is yours to change.

    mlctl recipes copy mnist ./mine.py
    mlctl train ./mine.py
    """
    from mlctl import output
    from mlctl.services.recipes import catalog

    output.hint(f"wrote {catalog.copy(recipe, file)}; next: mlctl train ./{file}")


@app.command()
@with_common_options
def check(
    session: Session,
    recipe: Name,
    target: Target = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="As for mlctl train; repeatable.")
    ] = None,
    data: Annotated[str | None, typer.Option(metavar="PATH", help="As for mlctl train.")] = None,
) -> None:
    """Put a recipe to the test on 64 rows: load, encode, build, a step, save, load, serve.

    mlctl recipes check ./mine.py
    """
    from mlctl.cli.values import pairs
    from mlctl.output.progress import TrainingView
    from mlctl.services.workflows.check_recipe import check as put_to_the_test

    given = {**pairs("--set", set_), **({"target": target} if target else {})}
    with TrainingView() as view:
        checked = put_to_the_test(session.settings, recipe, given, data, view)
    session.show(checked, f"next: mlctl train {recipe}")
