"""mlctl keys: who may ask an endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session, with_common_options

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API keys of endpoints.")

Name = Annotated[str, typer.Argument(metavar="TEXT", help="Whose key it is.")]
File = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file", metavar="FILE", help="Where keys are kept, as SHA-256; default: your own."
    ),
]


@app.command()
@with_common_options
def new(session: Session, name: Name, api_key_file: File = None) -> None:
    """Make a key; it is shown this once, and only its SHA-256 is kept.

    \b
    mlctl keys new anna --api-key-file keys > anna.key
    """
    from mlctl.services.serving import keys

    key = keys.new(api_key_file or keys.default_file(session.settings), name)
    session.show(key, f"kept as SHA-256 in {key.file}; next: mlctl serve MODEL --api-key-file {key.file}")


@app.command("list")
@with_common_options
def list_(session: Session, api_key_file: File = None) -> None:
    """List the keys, without their secrets.

    \b
    mlctl keys list --api-key-file keys
    """
    from mlctl.services.serving import keys

    session.show(keys.listed(api_key_file or keys.default_file(session.settings)))


@app.command()
@with_common_options
def revoke(session: Session, name: Name, api_key_file: File = None) -> None:
    """Revoke a key; running endpoints refuse it within a second.

    \b
    mlctl keys revoke anna --api-key-file keys
    """
    from mlctl.services.serving import keys

    session.show(keys.revoke(api_key_file or keys.default_file(session.settings), name))
