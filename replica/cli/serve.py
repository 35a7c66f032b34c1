"""``replica serve``: run the server until it is told to stop."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from replica.cli.frame import config, say, verb

if TYPE_CHECKING:
    from replica.server.stores import FirstUser

app = verb("Run the server")


@app.command()
def serve(
    data: Annotated[Path | None, typer.Option(help="data directory")] = None,
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="port to listen on; 0 takes a free one")] = None,
) -> None:
    """Run the server. Options go before the environment (see `replica config show`)."""
    from replica.server.serve import serve as run

    given: dict[str, Any] = {"data": data, "host": host, "port": port}
    chosen = {name: value for name, value in given.items() if value is not None}
    raise typer.Exit(run(replace(config(), **chosen), os.environ, announce))


def announce(url: str, first: FirstUser | None) -> None:
    """Where the pages are, and once who may sign in first."""
    say(f"replica serves {url}")
    if first is not None:
        show_first_user(first)


def show_first_user(first: FirstUser) -> None:
    """The first login; a password that was made up is shown here and nowhere else."""
    password = first.password or "the one you have set"
    say(f"account {first.account_name}, login {first.login}, password {password}")
    if first.password:
        say("Note the password: it is not shown again.")
