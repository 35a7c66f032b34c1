"""``replica account``: companies that this server keeps apart."""

from __future__ import annotations

from typing import Annotated

import typer

from replica.cli.frame import config, emit, say, verb

app = verb("Add and list accounts")


@app.command()
def add(
    name: str,
    login: Annotated[str, typer.Option(help="login of its owner")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Add an account with an owner, whose password is printed once."""
    from replica.cli.local import ask

    made = ask(config(), "POST", "/accounts", {"name": name, "login": login})
    say("Note the password: it is not shown again.")
    emit(made, as_json=as_json)


@app.command()
def ls(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """List accounts, oldest first."""
    from replica.cli.local import ask

    emit(ask(config(), "GET", "/accounts")["rows"], as_json=as_json)
