"""``replica device``: enrol, list, scope and revoke the devices of an account."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from replica.cli.frame import config, emit, say, verb
from replica.errors import MisuseError

app = verb("Enrol, list, scope and revoke devices")
Account = Annotated[str, typer.Option(help="name or id of the account; the oldest by default")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


Chosen = Annotated[str, typer.Option(help="all, none, or ids with commas between them")]
Orders = Annotated[str, typer.Option(help="team or own")]
Days = Annotated[int, typer.Option(help="days until it ends; 0 for no end")]
Strict = Annotated[bool | None, typer.Option(help="hide what is held when it has ended")]
Locked = Annotated[bool | None, typer.Option(help="only the office changes it")]


@app.command()
def add(
    name: str,
    *,
    user: Annotated[str, typer.Option(help="login of who will use it")] = "",
    customers: Chosen = "",
    prospects: Chosen = "",
    products: Chosen = "",
    orders: Orders = "",
    ttl_days: Days = -1,
    strict: Strict = None,
    locked: Locked = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Print a one-time code with which one device enrols itself. What it is to hold at first can
    be given with it; what is not named is as the policy says."""
    from replica.cli.local import ask

    wish = _wish(customers, prospects, products, orders, ttl_days, strict=strict, locked=locked)
    body = {"name": name, "user": user or None, "scope": wish or None}
    made = ask(config(), "POST", "/devices/codes", body, account=account)
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


@app.command()
def policy(
    which: Annotated[str, typer.Argument(help="all or selected; nothing to show it")] = "",
    *,
    customers: Chosen = "",
    prospects: Chosen = "",
    products: Chosen = "",
    orders: Orders = "",
    ttl_days: Days = -1,
    strict: Strict = None,
    locked: Locked = None,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Show or say what devices that enrol from now on hold at first: all, or what is selected.
    Of `selected`, a list that is not named is empty. Devices that are in keep what they hold."""
    from replica.cli.local import ask

    wish = _wish(customers, prospects, products, orders, ttl_days, strict=strict, locked=locked)
    if wish and not which:
        raise MisuseError("say `selected` with what is to be held")
    body = {"policy": which, "wish": wish} if which else None
    method = "PUT" if which else "GET"
    emit(ask(config(), method, "/devices/policy", body, account=account), as_json=as_json)


@app.command()
def scope(
    device: Annotated[str, typer.Argument(help="name or id")],
    *,
    customers: Chosen = "",
    prospects: Chosen = "",
    products: Chosen = "",
    orders: Orders = "",
    ttl_days: Days = -1,
    strict: Strict = None,
    locked: Locked = None,
    preview: Annotated[bool, typer.Option(help="say what it would cost, change nothing")] = False,
    account: Account = "",
    as_json: Json = False,
) -> None:
    """Show what a device holds; with options, change it. What is not named stays as it is."""
    from replica.cli.local import ask

    wish = _wish(customers, prospects, products, orders, ttl_days, strict=strict, locked=locked)
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


def _wish(
    customers: str,
    prospects: str,
    products: str,
    orders: str,
    ttl_days: int,
    *,
    strict: bool | None,
    locked: bool | None,
) -> dict[str, Any]:
    """What was named of a scope, as the API takes it."""
    lists = {"customers": customers, "prospects": prospects, "products": products}
    wish: dict[str, Any] = {name: _chosen(text) for name, text in lists.items() if text}
    flags = {"orders": orders or None, "strict": strict, "locked": locked}
    wish |= {name: value for name, value in flags.items() if value is not None}
    if ttl_days >= 0:
        wish["ttl_s"] = 86_400 * ttl_days
    return wish


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
