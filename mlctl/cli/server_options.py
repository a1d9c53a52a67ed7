"""The options that say where a server keeps things, shared by all commands about servers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

WHERE = "Where things are kept"

Name = Annotated[str, typer.Option("--name", metavar="SERVER", help="Which server, where there are several.")]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="The folder of an embedded database and artifacts.",
        rich_help_panel=WHERE,
    ),
]
BackendUri = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="URI",
        help="postgresql://USER@HOST/DATABASE, without its password.",
        rich_help_panel=WHERE,
    ),
]
BackendFile = Annotated[
    str | None,
    typer.Option(
        "--backend-file",
        metavar="FILE",
        help="A file with the URI, password included; - is stdin.",
        rich_help_panel=WHERE,
    ),
]
BucketName = Annotated[
    str | None,
    typer.Option("--bucket", metavar="BUCKET", help="The S3 bucket for artifacts.", rich_help_panel=WHERE),
]
Prefix = Annotated[
    str, typer.Option("--prefix", metavar="KEY", help="A prefix in the bucket.", rich_help_panel=WHERE)
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url", metavar="URL", help="An S3-compatible service's address.", rich_help_panel=WHERE
    ),
]
Region = Annotated[
    str | None, typer.Option("--region", metavar="REGION", help="The bucket's region.", rich_help_panel=WHERE)
]

RunFilter = dict[str, Any]  # what `services.server.locate_in` takes
OPTIONS = (
    ("root", Root, None),
    ("backend", BackendUri, None),
    ("backend_file", BackendFile, None),
    ("bucket", BucketName, None),
    ("prefix", Prefix, ""),
    ("endpoint_url", EndpointUrl, None),
    ("region", Region, None),
)


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say where a server keeps things; it gets their values as `where`."""
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.name != "where"]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, kind, default in OPTIONS
    ]

    @functools.wraps(command)
    def run(*given: Any, **named: Any) -> None:
        command(*given, where={name: named.pop(name) for name, _, _ in OPTIONS}, **named)

    run.__signature__ = signature.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    return run
