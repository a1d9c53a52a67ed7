"""mlctl export: one file a thing that can be exported."""

from __future__ import annotations

import typer

from mlctl.cli import export_model, export_server
from mlctl.cli.common_options import with_common_options

app = typer.Typer(no_args_is_help=True, help="Write what runs a server or a model somewhere else.")
app.command("server")(with_common_options(export_server.server))
app.command("model")(with_common_options(export_model.model))
