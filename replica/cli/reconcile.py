"""``replica reconcile``: which events another log has and this one lacks, and the other way round.

The other log is a copy in a file or a server. Only what differs is looked at closely: two logs of a
million events with ten differences are compared in some 20 kB (wire-protocol.md §13).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from replica.cli.frame import NEEDS_ATTENTION, chosen, config, emit, say, verb
from replica.errors import CorruptionError, Forbidden, MisuseError, StoreUnavailable
from replica.limits import EVENTS_BYTES_TARGET, RECONCILE_FRAME_BYTES_MAX

if TYPE_CHECKING:
    from replica.events.event import AccountId
    from replica.store.engine import Database
    from replica.sync.reconcile import ItemSet

app = verb("Compare the events of two logs")
TIMEOUT_S = 120.0  # the other server may have to read a long log first

Ask = Callable[[bytes], bytes]


@app.command()
def reconcile(
    *,
    against: Annotated[str, typer.Option(help="a copy of a log.db, or the address of a server")],
    account: Annotated[str, typer.Option(help="name or id; the oldest by default")] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="holds the token for the other server")
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="list the events that differ")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Compare this log with another of the same account. Exit code 3 when they differ.

    Nothing is changed. Events that only a device or a copy still has come back by themselves when
    devices connect; `replica backup` says how a copy is put back.
    """
    from replica.server.stores import open_reading
    from replica.store.control import Control

    with closing(open_reading(config())) as database:
        found_account = chosen(Control(database), account)
        items = _events(database, found_account)
    found = _compare(items, _other(against, found_account, token_file))
    say(f"{found.rounds} rounds, {found.sent_bytes + found.received_bytes} bytes")
    if ids:
        rows = [{"event": one.hex(), "only": "here"} for one in found.have]
        emit(
            [*rows, *({"event": one.hex(), "only": "there"} for one in found.need)], as_json=as_json
        )
    else:
        emit(_summary(found, found_account, len(items)), as_json=as_json)
    if found.have or found.need:
        raise typer.Exit(NEEDS_ATTENTION)


class Found(NamedTuple):
    """What an exchange came to."""

    have: list[bytes]
    need: list[bytes]
    rounds: int
    sent_bytes: int
    received_bytes: int


def _summary(found: Found, account: AccountId, events: int) -> dict[str, Any]:
    return {
        "account": account.hex(),
        "events": events,
        "only_here": len(found.have),
        "only_there": len(found.need),
        "rounds": found.rounds,
        "sent_bytes": found.sent_bytes,
        "received_bytes": found.received_bytes,
    }


def _compare(items: ItemSet, ask: Ask) -> Found:
    from replica.sync.reconcile import Initiator

    asking = Initiator(items)
    have: list[bytes] = []
    need: list[bytes] = []
    sent = received = 0
    message: bytes | None = asking.initiate()
    while message is not None:
        answer = ask(message)
        sent, received = sent + len(message), received + len(answer)
        message, more_have, more_need = asking.reconcile(answer)
        have += more_have
        need += more_need
    return Found(sorted(have), sorted(need), asking.rounds, sent, received)


def _events(database: Database, account: AccountId) -> ItemSet:
    from replica.sync.reconcile import ItemSet
    from replica.sync.reconcile.sets import event_items

    items = ItemSet()
    for page in _pages(database, account):
        items.update(event_items(page))
    return items


def _pages(database: Database, account: AccountId) -> Iterator[Any]:
    from replica.events.event import Position
    from replica.store.sql import SqlLog

    log, after = SqlLog(database), Position(0)
    while page := log.read(account, after, EVENTS_BYTES_TARGET):
        yield page
        after = page[-1].last


def _other(against: str, account: AccountId, token_file: Path | None) -> Ask:
    if against.startswith(("http://", "https://")):
        if token_file is None:
            raise MisuseError("a server wants a token", hint="--token-file FILE")
        return _server(against, account, token_file.read_text(encoding="utf-8").strip())
    path = Path(against)
    if not path.is_file():
        raise MisuseError(f"there is no file {against}", hint="give a copy of a log.db or a URL")
    return _file(path, account)


def _file(path: Path, account: AccountId) -> Ask:
    from replica.store.engine import Database, read_engine
    from replica.sync.reconcile import Responder

    engine = read_engine(path)
    with closing(Database(write=engine, read=engine, path=path)) as database:
        try:
            answering = Responder(_events(database, account))
        except CorruptionError as error:
            hint = "`replica backup verify` says what is wrong with it"
            raise MisuseError(f"{path.name} is no readable log: {error}", hint=hint) from error

    def ask(message: bytes) -> bytes:
        reply = answering.reconcile(message).reply
        assert reply is not None, "who answers always has an answer"
        return reply

    return ask


def _server(url: str, account: AccountId, token: str) -> Ask:
    import httpx2

    from replica.server.auth import ACCOUNT_HEADER

    headers = {"authorization": f"Bearer {token}", ACCOUNT_HEADER: account.hex()}
    path = f"{url.rstrip('/')}/api/v1/reconcile/events"

    def ask(message: bytes) -> bytes:
        try:
            answer = httpx2.post(path, content=message, headers=headers, timeout=TIMEOUT_S)
        except httpx2.HTTPError as error:
            raise StoreUnavailable(f"{url} does not answer: {error}") from error
        if answer.status_code in (401, 403):
            raise Forbidden("the other server does not know this token")
        if answer.status_code != 200 or len(answer.content) > RECONCILE_FRAME_BYTES_MAX:
            raise StoreUnavailable(f"{url} answered {answer.status_code}")
        return answer.content

    return ask
