"""Holding a part of the account: pages of documents in the place of the log (wire-protocol.md §14).

Blocking, run off the link's loop, while the connection is open and selling goes on. Each page is
stored together with how far it leads, so that a device that dies goes on where it was. When the
digests differ after the last one, documents have entered or left: what differs is found and taken,
or dropped (:mod:`replica.device.mend`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

import msgspec

from replica.crdt.documents import DocKey
from replica.device import chunks, first
from replica.device.asking import OK, Line, Server, connected
from replica.device.balance import Told, balance
from replica.device.holding import Holding
from replica.device.journal import Identity
from replica.device.mend import even_out
from replica.device.status import Progress
from replica.errors import Forbidden, Malformed, MisuseError, PeerGone, UpgradeRequired
from replica.events.kinds import catalogue_fingerprint
from replica.limits import (
    CHUNK_RAW_BYTES_MAX,
    ENROL_ANSWER_BYTES_MAX,
    MEND_TRIES_MAX,
    SCOPE_PAGES_MAX,
)
from replica.sync.scope import Page, decode_page

_decode_positions = msgspec.json.Decoder(list[int]).decode


def pull(
    holding: Holding,
    line: Line,
    through: int,
    version: int,
    *,
    now_ms: Callable[[], int],
    stopping: Callable[[], bool],
    progress: Callable[[tuple[Progress, ...]], None] = lambda _: None,
) -> int:
    """Bring the documents in scope to position ``through`` or later; how many came.

    ``version`` is the scope's as WELCOME told; ``progress`` hears how far a first sync is, and ()
    when it is over. Documents enter and leave as far as nothing is
    pending. Raises ``PeerGone`` when the connection is lost or the server cannot answer,
    ``UpgradeRequired`` when it folds by other rules, ``Malformed`` for nonsense, and what the
    journal raises; call again, it goes on where it was.
    """
    with holding.pulling:
        _begin(holding, version)
        came = 0
        with line.server() as server:
            for _ in range(MEND_TRIES_MAX):
                told = holding.journal.place.scope
                page, count = _pages(holding, server, through, stopping, progress)
                came += count
                if page is None or not _settled(holding):
                    return came
                if _equal(holding, page):
                    _level(holding, page, now_ms())
                    if page.version == told:
                        return came
                    continue  # the server waits to hear so: customers may be about to leave
                moved = even_out(holding, server, recount=False)
                if moved is None:
                    return came
                came += len(moved)
    return came


def waiting(holding: Holding, line: Line, through: int) -> int:
    """How many changes of documents in scope others have made up to position ``through`` or later,
    that were not taken in (SYN-11, SYN-27). As many as the server tells, which is bounded. Changes
    nothing; raises ``PeerGone`` without a connection or an answer, ``Malformed`` for nonsense."""
    with holding.lock:
        place = holding.journal.place
        mine = holding.journal.acknowledged_after(place.base_at)
        own = {row.answer.position for row in mine if row.answer is not None}
    query = urlencode({"after": place.base_at, "position": max(through, place.reach)})
    with holding.pulling, line.server() as server:
        answer = server.ask(f"scope/waiting?{query}", ENROL_ANSWER_BYTES_MAX)
    if answer.status != OK:
        raise PeerGone(f"the server does not say what waits ({answer.status})")
    try:
        return len(set(_decode_positions(answer.data)) - own)
    except msgspec.MsgspecError as error:
        raise Malformed(f"not positions: {error}") from error


def _begin(holding: Holding, version: int) -> None:
    """From the log to documents: the base is as of the cursor until the first page."""
    with holding.lock:
        place = holding.journal.place
        if not place.scope:
            chunks.drop(holding)
            began = place._replace(scope=max(version, 1), scope_at=place.cursor, stored_ms=0)
            holding.keep(began)


def _pages(
    holding: Holding,
    server: Server,
    through: int,
    stopping: Callable[[], bool],
    progress: Callable[[tuple[Progress, ...]], None],
) -> tuple[Page | None, int]:
    """Take pages up to the last one there is now, and give it; None when it is time to stop."""
    came, running = 0, first.under_way(holding)
    for _ in range(SCOPE_PAGES_MAX):
        with holding.lock:
            place, pending = holding.journal.place, holding.journal.pending_count
        query: dict[str, int | str] = {
            "after": place.scope_at,
            "position": max(through, place.reach),
            "version": place.scope,
            "pending": pending,
        }
        if running is not None:
            query["ahead"] = running.ahead
        answer = server.ask(f"scope/changes?{urlencode(query)}", CHUNK_RAW_BYTES_MAX)
        if answer.status != OK:
            raise PeerGone(f"the server does not give the documents in scope ({answer.status})")
        if answer.headers.get("replica-fold") != catalogue_fingerprint().hex():
            raise UpgradeRequired("the server folds by other rules than this program")
        page = decode_page(answer.data)
        if page.through < place.scope_at:
            raise Malformed("a page that leads back")
        was, running = running, running and running.after(page)
        _take(holding, page, partial(first.keep, holding, was, running))
        if was is not None:
            progress(running.progress() if running else ())
        came += len(page.documents)
        if page.last:
            return page, came
        if stopping():
            break
    return None, came


def _take(holding: Holding, page: Page, also: Callable[[], None]) -> None:
    """Store a page and how far it leads, in one commit; ``also`` is done inside it."""
    fresh = {DocKey(one.type, one.id): one.state for one in page.documents}
    with holding.lock:
        place = holding.journal.place
        change = holding.base.adopt(fresh, holding.own_behind(page.through))
        told = Told(fresh, page.position)
        balance(holding.journal, change, holding.own_behind, page.through, told)
        holding.store(
            change,
            place._replace(
                scope_at=page.through,
                reach=max(place.reach, page.through),
                fingerprint=catalogue_fingerprint(),
            ),
            also,
        )


def _settled(holding: Holding) -> bool:
    """Whether everything this device said is answered, and in the documents."""
    with holding.lock:
        journal = holding.journal
        return not journal.pending_count and journal.place.reach <= journal.place.scope_at


def _equal(holding: Holding, page: Page) -> bool:
    theirs = {(one.section, one.count, one.digest) for one in page.sections}
    return theirs == set(map(tuple, holding.level().sections))


def _level(holding: Holding, page: Page, now_ms: int) -> None:
    """What is here is what the server says should be."""
    with holding.lock:
        scope = 0 if page.everything else page.version
        holding.keep(holding.journal.place._replace(scope=scope, stored_ms=now_ms))


# What the user asks for --------------------------------------------------------------------------


def ask(identity: Identity, path: str, wish: dict[str, Any]) -> dict[str, Any]:
    """Send a wish about the scope. Raises ``PeerGone`` without a connection: the scope is the
    server's to grant; ``Forbidden`` where the office keeps it, ``MisuseError`` for what no scope
    can say."""
    try:
        with connected(identity) as server:
            answer = server.ask(path, ENROL_ANSWER_BYTES_MAX, msgspec.json.encode(wish))
    except PeerGone as error:
        raise PeerGone(
            f"the scope is granted by the server, and there is no way there: {error}"
        ) from error
    if answer.status == 403:
        raise Forbidden("the office keeps the scope of this device", hint="ask the office")
    if answer.status in {400, 413}:
        raise MisuseError("no scope can say that", hint="lists of ids, or 'all'")
    if answer.status != OK:
        raise PeerGone(f"the server cannot grant a scope now ({answer.status})")
    found: dict[str, Any] = msgspec.json.decode(answer.data)
    return found
