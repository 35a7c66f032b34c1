"""``replica device``: enrol, list and revoke the devices of an account."""

from __future__ import annotations

from typing import Annotated

import typer

from replica.cli.frame import config, emit, say, verb

app = verb("Enrol, list and revoke devices")
Account = Annotated[str, typer.Option(help="name or id of the account; the oldest by default")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command()
def add(name: str, account: Account = "", as_json: Json = False) -> None:
    """Print a one-time code with which one device enrols itself."""
    from replica.cli.local import ask

    made = ask(config(), "POST", "/devices/codes", {"name": name}, account=account)
    say(f"Type the code on the device within {made['minutes']} minutes. It works once.")
    emit(made, as_json=as_json)


@app.command()
def ls(account: Account = "", as_json: Json = False) -> None:
    """List devices: who is connected, since when not, what they still hold."""
    from replica.cli.local import ask
    from replica.server.web.words import iso

    rows = ask(config(), "GET", "/devices", account=account)["rows"]
    if not as_json:
        rows = [row | {"seen_ms": row["seen_ms"] and iso(row["seen_ms"])} for row in rows]
    emit(rows, as_json=as_json)


@app.command()
def revoke(device: str, account: Account = "", as_json: Json = False) -> None:
    """Shut a device out for good. Its unsent work stays on it and can be exported there."""
    from replica.cli.local import ask

    emit(ask(config(), "POST", f"/devices/{device}/revoke", account=account), as_json=as_json)
