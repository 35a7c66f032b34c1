"""``replica carry``: bring in work that a device exported to a file, and give it a receipt."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any

import typer

from replica.cli.frame import NEEDS_ATTENTION, config, emit, say, verb

app = verb("Bring in work that a device exported to a file")
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="the exported file")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command()
def preview(file: File, as_json: Json = False) -> None:
    """Show what is in a file: new, known already, invalid. Nothing is taken."""
    _end(_send(file.read_bytes(), "?preview=1"), as_json=as_json)


@app.command("import")
def import_(
    file: File,
    receipt: Annotated[
        Path | None, typer.Option(help="where the receipt goes; beside the file by default")
    ] = None,
    revoked: Annotated[
        bool, typer.Option("--revoked", help="take the work of a device that was revoked since")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take the work in a file. Doing it twice, or syncing the device later, adds nothing."""
    found = _send(file.read_bytes(), "?revoked=1" if revoked else "")
    answer = base64.b64decode(found.pop("receipt"))
    path = receipt or file.with_name(f"{file.name}.receipt")
    path.write_bytes(answer)
    found["receipt"] = str(path)
    say(f"Take {path.name} back to the device: it then shows this work as synced.")
    _end(found, as_json=as_json)


def _send(data: bytes, query: str) -> dict[str, Any]:
    from replica.cli.local import ask
    from replica.sync.carry import read_header

    account = read_header(data).account.hex()
    found: dict[str, Any] = ask(config(), "POST", f"/carry{query}", content=data, account=account)
    return found


def _end(found: dict[str, Any], *, as_json: bool) -> None:
    """Print; exit 3 when something in the file needs somebody."""
    if as_json:
        emit(found, as_json=True)
    else:
        emit({key: value for key, value in found.items() if key != "problems"}, as_json=False)
        for one in found["problems"]:
            say(f"{one['kind']} {one['about']} (seq {one['seq']}): {one['reason']} {one['fix']}")
    if found["stopped"]:
        say(found["stopped"]["message"])
    if found["invalid"] or found["stopped"]:
        raise typer.Exit(NEEDS_ATTENTION)
