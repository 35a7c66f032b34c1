"""``replica diff``: which records of a section came, went or changed between two moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from replica.analytics.moment import By, parse_moment
from replica.cli.analyst import say_source, section_of, told_history
from replica.cli.frame import emit, verb

if TYPE_CHECKING:
    from replica.analytics.diff import Cell

app = verb("Show what changed between two moments")


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="a position, a day or a time (UTC)")],
    after: Annotated[str, typer.Argument(help="the same, or now")],
    section: Annotated[str, typer.Argument(help="customer, product, order, quote, payment, …")],
    *,
    by: Annotated[By, typer.Option(help="which clock a time is read on")] = By.RECEIVED,
    account: Annotated[str, typer.Option(help="name or id; the oldest by default")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """One line for each record that came or went and for each cell that changed."""
    from replica.analytics.diff import Cell, compare
    from replica.analytics.export import flat

    with told_history(account) as history:
        name = section_of(section)
        old = history.snapshot(parse_moment(before, by))
        new = history.snapshot(parse_moment(after, by))
        found = compare(map(flat, old.rows(name)), map(flat, new.rows(name)))
        cells = [
            *(("added", Cell(row["id"], "", None, None)) for row in found.added),
            *(("removed", Cell(row["id"], "", None, None)) for row in found.removed),
            *(("changed", cell) for cell in _told(found.changed)),
        ]
        lines = [{"change": change, **cell._asdict()} for change, cell in cells]
        emit(lines, as_json=as_json)
        say_source(history, new.position, new.events, new.unread)


def _told(cells: Iterable[Cell]) -> Iterator[Cell]:
    """For people, a column that is not there and one without a value are the same."""
    from msgspec import UNSET

    for cell in cells:
        before, after = (None if one is UNSET else one for one in (cell.before, cell.after))
        if before != after:
            yield cell._replace(before=before, after=after)
