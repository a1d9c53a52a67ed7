"""Writing an answer to stdout, in whichever form was asked for."""

from __future__ import annotations

import json

from mlctl.output import views
from mlctl.output.render import console, finite, write_csv, write_markdown, write_table


def show(answer: object, form: str = "table") -> None:
    """Write an answer to stdout as `form`: table, json, csv or md."""
    console()  # prepares the stream
    if form == "json":
        print(json.dumps(finite(views.document(answer)), indent=2, ensure_ascii=False, default=str))
        return
    tables = views.tables(answer)
    if form == "csv":
        write_csv(tables[0])
        return
    for number, table in enumerate(tables):
        if number and form == "table":
            print()
        (write_markdown if form == "md" else write_table)(table)
