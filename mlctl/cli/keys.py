"""mlctl keys."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlctl.cli.common_options import Session

NewOwnerArgument = Annotated[str, typer.Argument(metavar="TEXT", help="Owner of the key.")]
OwnerArgument = Annotated[str, typer.Argument(metavar="OWNER", help="Owner of the key.")]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        metavar="FILE",
        help="File with the SHA-256 hashes of the keys (default: one in mlctl's own folder).",
    ),
]


def new(session: Session, name: NewOwnerArgument, api_key_file: KeyFileOption = None) -> None:
    """Create a key and show it once; only its SHA-256 hash is kept.

    \b
    mlctl keys new anna --api-key-file keys > anna.key
    """
    from mlctl.services.serving import keys

    key = keys.create_key(api_key_file or keys.default_key_file(session.settings), name)
    session.show(
        key, f"stored its SHA-256 hash in {key.file}; next: mlctl serve MODEL --api-key-file {key.file}"
    )


def list_keys(session: Session, api_key_file: KeyFileOption = None) -> None:
    """List the owners of the keys.

    \b
    mlctl keys list --api-key-file keys
    """
    from mlctl.services.serving import keys

    session.show(keys.list_keys(api_key_file or keys.default_key_file(session.settings)))


def revoke(session: Session, name: OwnerArgument, api_key_file: KeyFileOption = None) -> None:
    """Revoke a key; running endpoints refuse it within a second.

    \b
    mlctl keys revoke anna --api-key-file keys
    """
    from mlctl.services.serving import keys

    session.show(keys.revoke_key(api_key_file or keys.default_key_file(session.settings), name))
