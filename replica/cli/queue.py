"""``replica queue``: what waits for the accounting program."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from replica.cli.frame import NEEDS_ATTENTION, config, emit, say, verb

app = verb("What waits to be sent, in sending order")
STUCK = frozenset({"needs_you"})


@app.callback()
def group() -> None:
    """What waits to be sent, in sending order."""


@app.command()
def ls(
    account: Annotated[str, typer.Option(help="name or id; the oldest by default")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the queue. Exit code 3 when a row needs somebody."""
    from replica.cli.local import ask

    rows: list[dict[str, Any]] = []
    start: int | None = 0
    while start is not None:
        path = f"/queue?start={start}"
        found = ask(config(), "GET", path, account=account, sinks=True)
        rows += found["rows"]
        start = found["next"]
    say(f"{found['status']['state']}: {found['status']['text']}")
    emit(rows, as_json=as_json)
    if any(row["state"] in STUCK for row in rows):
        raise typer.Exit(NEEDS_ATTENTION)
