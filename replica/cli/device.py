"""``replica device``: enrol, list, scope and revoke the devices of an account."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from replica.cli.frame import config, emit, say, verb
from replica.errors import MisuseError

app = verb("Enrol, list, scope and revoke devices")
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


Chosen = Annotated[str, typer.Option(help="all, none, or ids with commas between them")]


@app.command()
def scope(
    device: Annotated[str, typer.Argument(help="name or id")],
    *,
    customers: Chosen = "",
    prospects: Chosen = "",
    products: Chosen = "",
    orders: Annotated[str, typer.Option(help="team or own")] = "",
    ttl_days: Annotated[int, typer.Option(help="days until it ends; 0 for no end")] = -1,
    strict: Annotated[bool | None, typer.Option(help="hide what is held when it has ended")] = None,
    locked: Annotated[bool | None, typer.Option(help="only the office changes it")] = None,
    preview: Annotated[bool, typer.Option(help="say what it would cost, change nothing")] = False,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Show what a device holds; with options, change it. What is not named stays as it is."""
    from replica.cli.local import ask

    wish: dict[str, Any] = {
        name: _chosen(text)
        for name, text in (
            ("customers", customers),
            ("prospects", prospects),
            ("products", products),
        )
        if text
    }
    flags = {"orders": orders or None, "strict": strict, "locked": locked}
    wish |= {name: value for name, value in flags.items() if value is not None}
    if ttl_days >= 0:
        wish["ttl_s"] = 86_400 * ttl_days
    query = f"?device={_identity(device, account)}"
    method, path = ("POST", "/scope/preview") if preview else ("PUT" if wish else "GET", "/scope")
    body = wish if wish or preview else None
    emit(ask(config(), method, path + query, body, account=account), as_json=as_json)


@app.command()
def handover(
    giver: str,
    taker: str,
    customers: Annotated[list[str], typer.Argument(help="ids of the customers")],
    *,
    force: Annotated[bool, typer.Option(help="do not wait for unsent work")] = False,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Give customers from one device to another, after the unsent work of the first."""
    from replica.cli.local import ask

    body = {
        "customers": customers,
        "giver": _identity(giver, account),
        "taker": _identity(taker, account),
        "force": force,
    }
    emit(ask(config(), "POST", "/scope/handover", body, account=account), as_json=as_json)


def _chosen(text: str) -> str | list[str]:
    if text in {"all", "none"}:
        return "all" if text == "all" else []
    return [one.strip() for one in text.split(",") if one.strip()]


def _identity(device: str, account: str) -> str:
    """The id of a device that is named by its name or its id."""
    from replica.cli.local import ask

    rows = ask(config(), "GET", "/devices", account=account)["rows"]
    found = [row["id"] for row in rows if device in (row["id"], row["name"])]
    if len(found) != 1:
        count = "no device" if not found else f"{len(found)} devices"
        raise MisuseError(f"{count} called {device!r}", hint="see: replica device ls")
    return str(found[0])
