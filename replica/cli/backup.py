"""``replica backup``: copy the log while the server runs, prove copies, and restore one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from replica.cli.frame import config, emit, say, verb

if TYPE_CHECKING:
    from replica.store.backup import Proof

app = verb("Copy the databases while the server runs, and verify the copy")
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command()
def make(target: Path, as_json: Json = False) -> None:
    """Copy the log to the new file TARGET and walk the copy from end to end."""
    from replica.store.backup import backup

    proofs = backup(_sqlite_log(), target)
    say(f"{target} is complete and verified")
    emit([_row(proof) for proof in proofs], as_json=as_json)


@app.command()
def verify(source: Path, as_json: Json = False) -> None:
    """Walk every account's log in a copy."""
    from replica.store.backup import verify_file

    emit([_row(proof) for proof in verify_file(source)], as_json=as_json)


@app.command()
def restore(source: Path, as_json: Json = False) -> None:
    """Put a verified copy in the place of a missing log; devices then offer again what it lacks."""
    from replica.server.runtime import wall_clock_ms
    from replica.store.backup import restore as put_back

    proofs = put_back(source, _sqlite_log(), now_ms=wall_clock_ms())
    say("restored under a new generation; start the server and let the devices connect")
    emit([_row(proof) for proof in proofs], as_json=as_json)


def _sqlite_log() -> Path:
    from replica.errors import MisuseError
    from replica.server.stores import log_file

    settings = config()
    if settings.database_url:
        raise MisuseError("this is for SQLite", hint="use pg_dump or your provider's backups")
    return log_file(settings)


def _row(proof: Proof) -> dict[str, Any]:
    return {
        "account": proof.account.hex(),
        "position": int(proof.position),
        "chain": proof.chain.hex(),
    }
