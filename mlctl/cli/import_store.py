"""mlctl import."""

from __future__ import annotations

from typing import Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.options import AFTER_DRY_RUN, DryRunOption

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="Folder mlruns, a SQLite file, or the URI of a database or a tracking server."
    ),
]
ExperimentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--experiment",
        "-e",
        metavar="EXPERIMENT",
        help="Import only this experiment, without registered models. Can be given several times.",
    ),
]
RunOption = Annotated[
    list[str] | None,
    typer.Option(
        "--run",
        metavar="ID",
        help="Import only this run, without registered models. Can be given several times.",
    ),
]
ArtifactsOption = Annotated[
    bool,
    typer.Option("--artifacts/--no-artifacts", help="Copy artifacts, or leave them where they are."),
]


def import_(
    session: Session,
    source: SourceArgument,
    experiment: ExperimentOption = None,
    run: RunOption = None,
    artifacts: ArtifactsOption = True,
    dry_run: DryRunOption = False,
) -> None:
    """Bring runs and models of another store into this one.

    \b
    mlctl import ./mlruns --dry-run
    mlctl import ./mlruns
    mlctl import http://old-server:5000 -e fraud

    Ids and times stay. What this store has already is left as it is, so an import that was interrupted continues if
    you run it again. This store must be a database; run it on the server's machine if there is a server.
    """
    from mlctl.output.import_progress import ImportBar
    from mlctl.services.server import import_store

    with ImportBar() as progress:
        report = import_store.import_store(
            source,
            session.settings.tracking_uri,
            experiments=experiment or (),
            runs=run or (),
            with_artifacts=artifacts,
            dry_run=dry_run,
            state_dir=session.settings.state_dir,
            progress=progress,
        )
    session.show(report, AFTER_DRY_RUN if dry_run else "next: mlctl runs list")
