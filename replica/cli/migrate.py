"""``replica migrate``: bring the databases to this version. Events are never migrated."""

from __future__ import annotations

from typing import Annotated

import typer

from replica.cli.frame import NEEDS_ATTENTION, config, say, verb

app = verb("Bring the databases to this version")


@app.command()
def migrate(
    check: Annotated[bool, typer.Option("--check", help="only say; exit code 3 if needed")] = False,
) -> None:
    """Migrate the tables around the events. Stop the server first on SQLite."""
    from contextlib import closing

    from replica.server.stores import open_log, open_reading
    from replica.store import migrations

    with closing(open_reading(config()) if check else open_log(config())) as database:
        found, wanted = migrations.current(database), migrations.newest()
        if found == wanted:
            say(f"the database is at version {wanted}; nothing to do")
        elif check:
            say(f"the database is at version {found or 'none'}, this program needs {wanted}")
            raise typer.Exit(NEEDS_ATTENTION)
        else:
            say(f"migrated from {found or 'none'} to {migrations.upgrade(database)}")
