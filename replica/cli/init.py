"""``replica init``: the data directory, the first account and its owner."""

from __future__ import annotations

from typing import Annotated

import typer

from replica.cli.frame import config, emit, say, verb

app = verb("Make the data directory, the first account and its first user")


@app.command()
def init(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Prepare a new installation. Harmless where there is one already."""
    from contextlib import closing

    from replica.cli.serve import show_first_user
    from replica.server.runtime import wall_clock_ms
    from replica.server.stores import Stores, make_first_account

    settings = config()
    with closing(Stores(settings)) as stores:
        first = make_first_account(stores.control, settings, wall_clock_ms)
        accounts = [
            {"account": one.id.hex(), "name": one.name} for one in stores.control.accounts()
        ]
    if first is None:
        say("there is an account already; nothing was changed")
    else:
        show_first_user(first)
    emit(accounts, as_json=as_json)
