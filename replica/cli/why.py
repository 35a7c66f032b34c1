"""``replica why``: which event gave a field its value, which lost, and by which rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from replica.cli.frame import config, emit, say, verb
from replica.errors import MisuseError

app = verb("Explain why a field has its value")


@app.command()
def why(
    record: Annotated[str, typer.Argument(help="type/id, as in customer/c-1 or order/o-1")],
    field: Annotated[str, typer.Argument(help="a field; all of them by default")] = "",
    account: Annotated[str, typer.Option(help="name or id; the oldest by default")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """The winning event, each loser, the rule, and all times: the author's, ours, receipt."""
    from replica.cli.local import ask

    kind, slash, identity = record.partition("/")
    if not slash or not kind or not identity:
        raise MisuseError(f"{record!r} is no record", hint="name it as type/id: customer/c-1")
    path = f"/why/{quote(kind, safe='')}/{quote(identity, safe='')}?{urlencode({'field': field})}"
    found = ask(config(), "GET", path, account=account)
    if as_json:
        emit(found, as_json=True)
        return
    for one in found["fields"]:
        say(f"{one['field']}: {one['rule']}")
    emit([row for one in found["fields"] for row in _rows(one)], as_json=False)


def _rows(one: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A line for the event that counts, then one for each that does not."""
    from replica.server.web.words import iso

    for said in [*one["winners"], *one["losers"]]:
        yield {
            "field": one["field"],
            "counts": "no" if said["rule"] else "yes",
            "value": said["value"],
            "rule": said["rule"] or one["rule"],
            "by": said["by"] or said["node"],
            "origin": said["origin"],
            "kind": said["kind"],
            "author time": "" if said["raw_ms"] is None else iso(said["raw_ms"]),
            "merge time": iso(said["merged_ms"]),
            "received": "" if said["received_ms"] is None else iso(said["received_ms"]),
            "disputed": "yes" if said["disputed"] else "no",
            "position": said["position"],
            "event": said["event"],
        }
