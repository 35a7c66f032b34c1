"""``replica user``: people who may sign in to the main app."""

from __future__ import annotations

from typing import Annotated

import typer

from replica.cli.frame import config, emit, say, verb

app = verb("Add users of the main app")
Account = Annotated[str, typer.Option(help="name or id of the account; the oldest by default")]


@app.command()
def add(
    login: str,
    role: Annotated[str, typer.Option(help="owner, admin, rep or viewer")] = "rep",
    account: Account = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Add a user, whose password is printed once."""
    from replica.cli.local import ask

    made = ask(config(), "POST", "/users", {"login": login, "role": role}, account=account)
    say("Note the password: it is not shown again.")
    emit(made, as_json=as_json)


@app.command()
def ls(
    account: Account = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the users of an account."""
    from replica.cli.local import ask

    emit(ask(config(), "GET", "/users", account=account)["rows"], as_json=as_json)
