"""Mending: when digests differ, find which documents do and take these from the server.

Blocking, run off the link's loop, between two connections. Costs what differs, not what there is
(wire-protocol.md §13). It proves nothing: the proof on the next connection does. Whatever cannot be
mended so (a document that the server does not know, more than a few that differ, other rules of the
fold) is left to fetching everything again (§6.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from replica.crdt.digest import SectionTotals, document_hash
from replica.crdt.documents import DOCUMENT_TYPES, DocKey
from replica.crdt.fold import touched
from replica.crdt.stock import SOLD
from replica.device.asking import OK, Line, Server, connected
from replica.device.balance import Told, balance
from replica.device.base import Change
from replica.device.holding import Holding
from replica.errors import CorruptionError, Malformed, PeerError, StoreFailed
from replica.events.event import decode_event
from replica.events.kinds import catalogue_fingerprint
from replica.limits import (
    CHUNK_RAW_BYTES_MAX,
    MEND_DOCUMENTS_MAX,
    MEND_TRIES_MAX,
    RECONCILE_DOCUMENTS_MAX,
    SCOPE_MOVES_MAX,
)
from replica.sync.reconcile import Initiator, ItemSet
from replica.sync.reconcile.sets import document_items

_decode_documents = msgspec.msgpack.Decoder(list[tuple[str, str, bytes]]).decode


class _Differences(NamedTuple):
    position: int  # that the server's documents include at least
    ours: list[DocKey]  # that the server has not, or not so
    theirs: list[bytes]  # hashes of what the server has, and this device not, or not so


class _Documents:
    """The two questions to ask about documents."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def reconcile(self, message: bytes, position: int) -> bytes | None:
        """The answer about documents that include ``position``; None when there is none, or when
        they are folded by other rules than ours."""
        asked = f"reconcile/documents?position={position}"
        answer = self._server.ask(asked, CHUNK_RAW_BYTES_MAX, message)
        fits = answer.headers.get("replica-fold") == catalogue_fingerprint().hex()
        return answer.data if answer.status == OK and fits else None

    def with_hashes(self, hashes: Sequence[bytes]) -> tuple[int, dict[DocKey, bytes]]:
        """Some of the documents with these hashes, at least one if there is any, and the position
        they are as of."""
        answer = self._server.ask("documents", CHUNK_RAW_BYTES_MAX, b"".join(hashes))
        if answer.status != OK:
            return 0, {}
        try:
            found = _decode_documents(answer.data)
            position = int(answer.headers.get("replica-position", ""))
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
            raise Malformed(f"not documents: {error}") from error
        return position, {DocKey(kind, identity): state for kind, identity, state in found}


def mend(holding: Holding, line: Line | None = None) -> tuple[DocKey, ...] | None:
    """Take the server's state of every document that differs; returns which these were.

    None when it cannot be mended document by document. Call while nothing else changes the base.
    Raises ``PeerGone`` when the connection is lost, and what the journal raises; documents that
    were stored by then stay.
    """
    with connected(holding.identity, line) as server:
        return even_out(holding, server, recount=True)


def even_out(holding: Holding, server: Server, *, recount: bool) -> tuple[DocKey, ...] | None:
    """As :func:`mend`, over a connection that there is. With a scope, documents that only this
    device has leave it, but for those that unsent work or work just sent is about. ``recount`` the
    digests when nothing differs: only where nothing else moves the base."""
    documents = _Documents(server)
    mended: set[DocKey] = set()
    for _ in range(MEND_TRIES_MAX):
        try:
            found = _differences(holding, documents, recount=recount)
            if found is None:
                return None
            if not found.theirs and not found.ours:
                return tuple(sorted(mended))
            taken = _take(holding, documents, found)
        except StoreFailed:
            raise
        except (PeerError, CorruptionError):
            return None  # nonsense from there, or a document here that cannot be read
        mended |= taken
        alone = set(found.ours) - taken
        if len(taken) == len(found.theirs) and alone:
            if not holding.journal.place.scope:
                return None
            mended |= _leave(holding, alone, found.position)
    return None


def _differences(holding: Holding, documents: _Documents, *, recount: bool) -> _Differences | None:
    """None when the server does not say, or when too much differs."""
    level = holding.level()
    # What the server shows has to include all that this base does, or it would go back.
    position = max(level.cursor, level.answered_through)
    ours = _hashes(holding)
    asking = Initiator(ItemSet(document_items(ours)))
    found = _Differences(position, [], [])
    most = SCOPE_MOVES_MAX if holding.journal.place.scope else MEND_DOCUMENTS_MAX
    message: bytes | None = asking.initiate()
    while message is not None:
        answer = documents.reconcile(message, position)
        if answer is None:
            return None
        message, have, need = asking.reconcile(answer)
        found.ours.extend(ours[one] for one in have)
        found.theirs.extend(need)
        if len(found.ours) + len(found.theirs) > most:
            return None
    if recount and not found.ours and not found.theirs:
        _recount(holding, ours)
    return found


def _hashes(holding: Holding) -> dict[bytes, DocKey]:
    """Every document of the base under its hash, computed from what is stored."""
    found = {}
    for kind in (*DOCUMENT_TYPES, SOLD):
        after: str | None = ""
        while after is not None:
            with holding.lock:
                page = holding.journal.documents(kind, after)
            for identity, state in page:
                key = DocKey(kind, identity)
                found[document_hash(key, bytes(state))] = key
            after = page[-1][0] if page else None
    return found


def _recount(holding: Holding, hashes: Mapping[bytes, DocKey]) -> None:
    """The digest is kept by adding and taking away: what was damaged in between stayed in it."""
    totals = SectionTotals()
    for value, key in hashes.items():
        totals.count(key.type, value, 1)
    with holding.lock, holding.journal.commit():
        holding.journal.put_totals(map(totals.of, DOCUMENT_TYPES))
        holding.base.stored(Change({}, totals, [], []))


def _take(holding: Holding, documents: _Documents, found: _Differences) -> set[DocKey]:
    """Store the documents with these hashes; which these were. Some may have changed meanwhile."""
    taken: set[DocKey] = set()
    left = set(found.theirs)
    while left:
        position, fresh = documents.with_hashes(list(left)[:RECONCILE_DOCUMENTS_MAX])
        if not fresh:
            break
        given = {document_hash(key, state) for key, state in fresh.items()}
        if not given <= left:
            raise Malformed("a document that nobody asked for")
        left -= given
        with holding.lock:
            change = holding.base.adopt(fresh, holding.own_behind(found.position))
            place = holding.journal.place
            if place.scope:
                told = Told(fresh, position)
                balance(holding.journal, change, holding.own_behind, place.scope_at, told)
            holding.store(change, place)
        taken.update(fresh)
    return taken


def _leave(holding: Holding, keys: Iterable[DocKey], position: int) -> set[DocKey]:
    """Drop ``keys`` in one commit; which these were. What unsent work is about stays until that is
    in (pitfalls B10), and what the server had not folded when it was asked."""
    with holding.lock:
        journal = holding.journal
        spared = set(holding.own_behind(position))
        for row in journal.pending():
            spared.update(touched(decode_event(row.data)))
        change = holding.base.leave(sorted(set(keys) - spared))
        balance(journal, change, holding.own_behind, journal.place.scope_at)
        holding.store(change, journal.place)
        return set(change.gone)
