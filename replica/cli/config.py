"""``replica config``: every setting, its value, and where the value came from."""

from __future__ import annotations

from typing import Annotated

import typer

from replica.cli.frame import config, emit, verb

app = verb("Show every setting and where it came from")


@app.callback()
def group() -> None:
    """Show every setting and where it came from."""


@app.command()
def show(
    origin: Annotated[bool, typer.Option("--origin", help="also where each came from")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show the settings; secrets only as set or not."""
    import os

    from replica.server.config import describe

    rows = []
    for line in describe(config(), os.environ):
        row = {"setting": line.name, "value": line.value}
        if origin:
            row["origin"] = line.origin
        rows.append(row | {"help": line.help})
    emit(rows, as_json=as_json)
