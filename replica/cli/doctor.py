"""``replica doctor``: can this installation do its work, and if not, what to do."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from replica.cli.frame import NEEDS_ATTENTION, config, emit, verb
from replica.errors import ReplicaError

if TYPE_CHECKING:
    from replica.server.config import Config

app = verb("Check that this installation can do its work")
FREE_BYTES_MIN = 268_435_456  # room for some days of orders and for a checkpoint
PYTHON_MIN = (3, 11)

Check = Callable[["Config"], str]
"""What was found, in words. Raises ``ReplicaError`` with a hint when somebody has to act."""


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """Run every check. Exit code 3 when one of them needs somebody."""
    settings = config()
    rows = [_result(name, check, settings) for name, check in _checks()]
    emit(rows, as_json=as_json)
    if any(row["result"] != "ok" for row in rows):
        raise typer.Exit(NEEDS_ATTENTION)


def _checks() -> Iterator[tuple[str, Check]]:
    yield "python", _python
    yield "sqlite", _sqlite
    yield "disk", _disk
    yield "tables", _tables
    yield "log", _log
    yield "read models", _views
    yield "sinks", _sinks
    yield "server", _server


def _result(name: str, check: Check, settings: Config) -> dict[str, str]:
    try:
        return {"check": name, "result": "ok", "found": check(settings), "hint": ""}
    except (ReplicaError, OSError) as error:
        hint = getattr(error, "hint", "")
        return {"check": name, "result": "attention", "found": str(error), "hint": hint}


class Attention(ReplicaError):
    """A check found something that somebody has to act on."""


def _python(_: Config) -> str:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_MIN:
        raise Attention(f"Python {found}", hint="use Python 3.11 or newer")
    return found


def _sqlite(_: Config) -> str:
    from replica.store.engine import refuse_old_sqlite, sqlite_module

    module = sqlite_module()
    refuse_old_sqlite(module)
    return str(module.sqlite_version)


def _disk(settings: Config) -> str:
    folder = next(path for path in (settings.data, *settings.data.parents) if path.exists())
    free = shutil.disk_usage(folder.resolve()).free
    if free < FREE_BYTES_MIN:
        raise Attention(f"{free >> 20} MiB free", hint="make room before writes are refused")
    return f"{free >> 20} MiB free"


def _tables(settings: Config) -> str:
    from replica.server.stores import open_reading
    from replica.store import migrations

    with closing(open_reading(settings)) as database:
        migrations.check(database)
        return f"version {migrations.newest()}"


def _log(settings: Config) -> str:
    from replica.server.stores import open_reading
    from replica.store.backup import verify

    with closing(open_reading(settings)) as database:
        proofs = verify(database)
    return f"{sum(proof.position for proof in proofs):,} events in {len(proofs)} logs, unbroken"


def _views(settings: Config) -> str:
    from replica.projections.runner import Projector
    from replica.server.stores import open_reading
    from replica.store.control import Control
    from replica.store.sql import SqlLog

    with (
        closing(open_reading(settings)) as database,
        closing(open_reading(settings, views=True)) as views,
    ):
        log = SqlLog(database)
        projector = Projector(views, log)
        ends = log.positions(account.id for account in Control(database).accounts())
        behind = sum(end - projector.position(account) for account, end in ends.items())
    return f"{behind:,} events behind; the server catches up" if behind else "up to date"


def _sinks(_: Config) -> str:
    from replica.server.plugins import load_sinks

    return ", ".join(plugin.name for plugin in load_sinks()) or "none installed"


def _server(settings: Config) -> str:
    from replica.cli.local import running

    operator = running(settings.data)
    return f"running at {operator['url']}" if operator else "not running"
