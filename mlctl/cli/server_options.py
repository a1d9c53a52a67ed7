"""The options that several commands about tracking servers share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

STORAGE = "Storage"

NameOption = Annotated[
    str, typer.Option("--name", metavar="SERVER", help="Name of the server, if this machine has several.")
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Folder of the SQLite database and of the artifacts (default: the current folder).",
        rich_help_panel=STORAGE,
    ),
]
BackendOption = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="URI",
        help="Database to use instead of SQLite: postgresql:// or mysql://USER@HOST/DATABASE, without a password.",
        rich_help_panel=STORAGE,
    ),
]
BackendFileOption = Annotated[
    str | None,
    typer.Option(
        "--backend-file",
        metavar="FILE",
        help="File with the URI of the database, which may hold a password; - reads stdin.",
        rich_help_panel=STORAGE,
    ),
]
ArtifactsOption = Annotated[
    str | None,
    typer.Option(
        "--artifacts",
        metavar="URI",
        help="Google Cloud Storage or Azure Blob Storage for artifacts: gs://BUCKET/PREFIX or "
        "wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/PREFIX.",
        rich_help_panel=STORAGE,
    ),
]
BucketOption = Annotated[
    str | None,
    typer.Option(
        "--bucket",
        metavar="BUCKET",
        help="S3 bucket for artifacts (default: bucket in mlctl.toml, or a folder in --root).",
        rich_help_panel=STORAGE,
    ),
]
PrefixOption = Annotated[
    str, typer.Option("--prefix", metavar="KEY", help="Prefix in the bucket.", rich_help_panel=STORAGE)
]
EndpointUrlOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        help="Address of an S3-compatible service (default: Amazon S3).",
        rich_help_panel=STORAGE,
    ),
]
RegionOption = Annotated[
    str | None,
    typer.Option("--region", metavar="REGION", help="Region of the bucket.", rich_help_panel=STORAGE),
]
CreateBucketOption = Annotated[
    bool, typer.Option("--create-bucket", help="Create the bucket if it is missing.", rich_help_panel=STORAGE)
]

LocationOptions = dict[str, Any]  # arguments of services.server.server_location.location_from_options
LOCATION_OPTIONS = (
    ("root", RootOption, None),
    ("backend", BackendOption, None),
    ("backend_file", BackendFileOption, None),
    ("artifacts", ArtifactsOption, None),
    ("bucket", BucketOption, None),
    ("prefix", PrefixOption, ""),
    ("endpoint_url", EndpointUrlOption, None),
    ("region", RegionOption, None),
)


def with_location_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `location` of a command by the options that say where a server keeps its data."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "location"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in LOCATION_OPTIONS
    ]

    @functools.wraps(command)
    def run(*positional: Any, **arguments: Any) -> None:
        location = {name: arguments.pop(name) for name, _, _ in LOCATION_OPTIONS}
        command(*positional, location=location, **arguments)

    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    return run
