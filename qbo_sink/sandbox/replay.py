"""First answers, kept by request id, so that a repeated write is answered and not applied again.

Requests are handled one at a time from the first check to the commit, and the answer is kept in
the same transaction as the write: a repeat finds either nothing or the whole answer.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from qbo_sink.sandbox import tables
from qbo_sink.sandbox.books import Books
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.switches import Switches

REQUEST_ID_CHARS_MAX = 50
BATCH_REQUEST_ID_CHARS_MAX = 36


class Reply(NamedTuple):
    """Status and body of an answer."""

    status: int
    body: bytes


class Replay(NamedTuple):
    """The memory of one realm."""

    books: Books
    switches: Switches
    realm: str

    def recall(self, request_id: str, fingerprint: str) -> Reply | None:
        """The first answer to ``request_id``; 600 if the switch says so and the body differs."""
        r = tables.replies
        row = self.books.connection.execute(
            select(r).where(r.c.realm == self.realm, r.c.request_id == request_id)
        ).first()
        oldest = self.books.clock.now_ms() - self.switches.requestid_ttl_s * 1000
        if row is None or row.at_ms < oldest:
            return None
        if row.fingerprint != fingerprint and self.switches.requestid_conflict == "600":
            raise refused(600, f"Request id {request_id} was used with another request")
        return Reply(row.status, row.body)

    def keep(self, request_id: str, fingerprint: str, reply: Reply) -> None:
        """Inside ``books.atomic()``. Faults are kept only if the switch says so."""
        if reply.status != 200 and not self.switches.requestid_replays_faults:
            return
        now = self.books.clock.now_ms()
        r = tables.replies
        oldest = now - self.switches.requestid_ttl_s * 1000
        self.books.connection.execute(delete(r).where(r.c.at_ms < oldest))
        row = {
            "fingerprint": fingerprint,
            "at_ms": now,
            "status": reply.status,
            "body": reply.body,
        }
        statement = insert(r).values(realm=self.realm, request_id=request_id, **row)
        self.books.connection.execute(
            statement.on_conflict_do_update(index_elements=["realm", "request_id"], set_=row)
        )


def fingerprint(*parts: bytes) -> str:
    """What makes two requests the same."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def checked_id(request_id: str, *, batch: bool) -> str:
    """Raises ``Refused`` (2130) when the id is too long."""
    limit = BATCH_REQUEST_ID_CHARS_MAX if batch else REQUEST_ID_CHARS_MAX
    if len(request_id) > limit:
        raise refused(2130, f"min 1, max {limit}, supplied length {len(request_id)}", "requestid")
    return request_id
