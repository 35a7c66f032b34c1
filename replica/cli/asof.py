"""``replica asof``: the records of a section as they stood at a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replica.analytics.moment import By, parse_moment
from replica.cli.analyst import say_source, section_of, told_history
from replica.cli.frame import emit, say, verb

app = verb("Show records as they stood at a moment")


@app.command()
def asof(
    when: Annotated[str, typer.Argument(help="now, a position, a day or a time (UTC)")],
    section: Annotated[str, typer.Argument(help="customer, product, order, quote, payment, …")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="a .jsonl, .csv or .parquet file")
    ] = None,
    by: Annotated[By, typer.Option(help="which clock a time is read on")] = By.RECEIVED,
    account: Annotated[str, typer.Option(help="name or id; the oldest by default")] = "",
) -> None:
    """Fold the log up to the moment and show what stands then, as JSON or in a file."""
    from replica.analytics.export import columns_of, flat, write

    with told_history(account) as history:
        snapshot = history.snapshot(parse_moment(when, by))
        rows = snapshot.rows(section_of(section))
        if output is None:
            emit(rows, as_json=True)
        else:
            table = rows if output.suffix == ".jsonl" else [flat(row) for row in rows]
            written = write(output, columns_of(table), table)
            say(f"{output}: {written.rows} rows, sha256 {written.sha256}")
        say_source(history, snapshot.position, snapshot.events, snapshot.unread)
