"""Writes an answer to stdout in the requested format."""

from __future__ import annotations

import json

from mlctl.output import views
from mlctl.output.messages import console
from mlctl.output.tables import hint_at_hidden_columns, write_csv, write_markdown, write_table
from mlctl.output.text import without_nan


def show(answer: object, output_format: str = "table") -> None:
    """Write an answer to stdout as a table, json, csv or md; csv is the first table only."""
    console()  # lets stdout replace characters that it cannot encode
    if output_format == "json":
        document = without_nan(views.document(answer))
        print(json.dumps(document, indent=2, ensure_ascii=False, default=str))
        return
    if output_format != "csv" and (text := views.text(answer)):
        print(text, end="")
        return
    tables = views.tables(answer)
    if output_format == "csv":
        write_csv(tables[0])
        hint_at_hidden_columns(tables[0])
        return
    for index, table in enumerate(tables):
        if index and output_format == "table":
            print()
        if output_format == "md":
            write_markdown(table)
            hint_at_hidden_columns(table)
        else:
            write_table(table)
