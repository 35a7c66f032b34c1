"""``replica events``: look at the log as it is, beside a running server, export and verify it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from replica.analytics.moment import By, parse_moment
from replica.cli.analyst import say_source, told_history
from replica.cli.frame import chosen, config, emit, say, verb
from replica.limits import LIST_ROWS_MAX

if TYPE_CHECKING:
    from replica.events.event import AccountId
    from replica.store.engine import Database

app = verb("Read, export and verify the log")
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command()
def tail(
    account: Annotated[str, typer.Option(help="name or id; the oldest by default")] = "",
    limit: Annotated[int, typer.Option(help="how many events", min=1)] = LIST_ROWS_MAX,
    as_json: Json = False,
) -> None:
    """The newest events of an account, oldest of them first."""
    from replica.server.stores import open_reading
    from replica.store.control import Control

    with closing(open_reading(config())) as database:
        rows = list(_newest(database, chosen(Control(database), account), limit))
    emit(rows, as_json=as_json)


@app.command()
def export(
    output: Annotated[Path, typer.Argument(help="a .jsonl, .csv or .parquet file")],
    kind: Annotated[str, typer.Option(help="only this kind, or those that begin so")] = "",
    to: Annotated[str, typer.Option(help="now, a position, a day or a time (UTC)")] = "now",
    by: Annotated[By, typer.Option(help="which clock a time is read on")] = By.RECEIVED,
    account: Annotated[str, typer.Option(help="name or id; the oldest by default")] = "",
) -> None:
    """Write every event with its times and its payload to a file."""
    from replica.analytics.export import EVENT_COLUMNS, event_row, write

    with told_history(account) as history:
        last = 0

        def rows() -> Iterator[dict[str, Any]]:
            nonlocal last
            for entry in history.entries(parse_moment(to, by)):
                last = entry.position
                if entry.kind.startswith(kind):
                    yield event_row(entry)

        written = write(output, EVENT_COLUMNS, rows())
        say(f"{output}: {written.rows} events, sha256 {written.sha256}")
        say_source(history, last, written.rows, 0)


@app.command()
def verify(as_json: Json = False) -> None:
    """Walk every account's log: positions, hashes, chains. Reads everything."""
    from replica.server.stores import open_reading
    from replica.store.backup import verify as walk

    with closing(open_reading(config())) as database:
        proofs = walk(database)
    say(f"{len(proofs)} logs verified")
    emit(
        [
            {
                "account": proof.account.hex(),
                "position": int(proof.position),
                "chain": proof.chain.hex(),
            }
            for proof in proofs
        ],
        as_json=as_json,
    )


def _newest(database: Database, account: AccountId, limit: int) -> Iterator[dict[str, Any]]:
    """The last ``limit`` events, read segment by segment from where they must begin."""
    from sqlalchemy import func, select

    from replica.events.event import Position
    from replica.events.ports import walk
    from replica.events.record import records
    from replica.store.sql import SqlLog
    from replica.store.tables import segments

    log = SqlLog(database)
    first = log.positions([account]).get(account, Position(0)) - limit + 1
    before = select(func.max(segments.c.last)).where(
        segments.c.account == account, segments.c.last < first
    )
    with database.reading() as connection:
        after = Position(connection.execute(before).scalar() or 0)
    for segment in walk(log, account, after):
        for position, record in records(segment):
            if position >= first:
                yield _row(position, record)


def _row(position: int, record: Any) -> dict[str, Any]:
    from replica.events.record import Origin
    from replica.server.web.words import iso

    event = record.event
    return {
        "position": int(position),
        "kind": f"{event.kind}/{event.version}",
        "origin": Origin(record.origin).name.lower(),
        "device": event.device.hex(),
        "epoch": event.epoch,
        "seq": event.seq,
        "received": iso(record.received_ms),
        "id": record.id.hex(),
    }
