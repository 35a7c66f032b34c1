"""``replica project``: look at the read models and rebuild them."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from replica.cli.frame import FAILED, NEEDS_ATTENTION, config, emit, say, verb

app = verb("Look at the read models and rebuild them")
Account = Annotated[str, typer.Option(help="name of the account; default: all of them")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of columns")]


@app.command("ls")
def listing(*, account: Account = "", as_json: AsJson = False) -> None:
    """Position, lag and failures of each account; exit status 3 when something failed."""
    from replica.projections import queries
    from replica.projections.runner import Projector
    from replica.server.stores import Stores

    rows = []
    with closing(Stores(config())) as stores:
        projector = Projector(stores.views, stores.log)
        for one in stores.control.accounts():
            if account in ("", one.name):
                position, sections = projector.digest(one.id)
                with stores.views.reading() as connection:
                    failures = queries.failures_page(connection, one.id).rows
                rows.append(
                    {
                        "account": one.name,
                        "position": position,
                        "lag": projector.lag(one.id),
                        "documents": sum(section.count for section in sections),
                        "failures": len(failures),
                    }
                )
    emit(rows, as_json=as_json)
    if any(row["failures"] for row in rows):
        raise typer.Exit(NEEDS_ATTENTION)


@app.command()
def sections(*, account: Account = "", as_json: AsJson = False) -> None:
    """Count and digest of every section, to compare with another replica."""
    from replica.projections.runner import Projector
    from replica.server.stores import Stores

    rows = []
    with closing(Stores(config())) as stores:
        projector = Projector(stores.views, stores.log)
        for one in stores.control.accounts():
            if account in ("", one.name):
                position, totals = projector.digest(one.id)
                rows += [
                    {
                        "account": one.name,
                        "position": position,
                        "section": total.section,
                        "count": total.count,
                        "digest": total.digest.hex(),
                    }
                    for total in totals
                ]
    emit(rows, as_json=as_json)


@app.command()
def failures(*, account: Account = "", as_json: AsJson = False) -> None:
    """Records that could not be folded, with the reason. They stay in the log."""
    from replica.projections import queries
    from replica.server.stores import Stores

    rows = []
    with closing(Stores(config())) as stores, stores.views.reading() as connection:
        for one in stores.control.accounts():
            if account in ("", one.name):
                found = queries.failures_page(connection, one.id).rows
                rows += [{"account": one.name, **row} for row in found]
    emit(rows, as_json=as_json)


@app.command()
def rebuild(
    *,
    account: Account = "",
    skip: Annotated[
        bool, typer.Option("--skip-failures", help="note what cannot be folded and go on")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fold the whole log again, aside, then switch; stop the server first.

    An interrupted rebuild goes on where it was. Exit status 1 when the digest differs from what
    the read models had at the same position: the old rows were wrong.
    """
    from replica.projections.runner import Projector
    from replica.server.stores import Stores

    rows = []
    with closing(Stores(config())) as stores:
        projector = Projector(stores.views, stores.log)
        for one in stores.control.accounts():
            if account in ("", one.name):
                say(f"rebuilding {one.name}")
                projector.catch_up(one.id)
                rebuilt = projector.rebuild(one.id, strict=not skip)
                rows.append(
                    {"account": one.name, "position": rebuilt.position, "equal": rebuilt.equal}
                )
    emit(rows, as_json=as_json)
    if any(row["equal"] is False for row in rows):
        raise typer.Exit(FAILED)
