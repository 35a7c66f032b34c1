"""Values that gave way when both sides had changed a field, and taking one of them back.

The other value is said here, by whoever takes it, as any edit is; from here it goes there. So the
merge itself stays as it was, and nothing is overwritten past it (CON-10).
"""

from __future__ import annotations

import asyncio
import json

from qbo_sink import twoway
from qbo_sink.meeting import told
from qbo_sink.meeting_store import MeetingStore, Shown
from qbo_sink.merge3 import same
from qbo_sink.model import Key, Wanted, decode_wanted
from qbo_sink.runner import Parts
from replica.limits import SINK_ROWS_MAX
from replica.sink import Deed, Offer, Overruled, Refusal

OTHER = Offer("other", "Use the other", "primary")
FINE = Offer("fine", "It is right")


class Overruling:
    """The desk over one sink's conflicts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = MeetingStore(parts.ledger.engine)

    async def rows(self, account: bytes) -> list[Overruled]:
        """The newest conflicts, newest first."""

        def read() -> list[Overruled]:
            found = self._store.overruled(account, SINK_ROWS_MAX)
            contents = self._parts.ledger.wanted(account, {one.key for one in found})
            return [_row(one, _current(one.key, contents)) for one in found]

        return await asyncio.to_thread(read)

    async def act(self, account: bytes, identity: int | None, action: str, deed: Deed) -> None:
        """Note that somebody dealt with a conflict; the value itself is said through the door.

        Raises ``Refusal``.
        """
        if action not in {OTHER.name, FINE.name}:
            raise Refusal("That cannot be done about this value.")
        settled = (account, identity or 0, deed.by, self._parts.now_ms())
        if not await asyncio.to_thread(self._store.settle, *settled):
            raise Refusal("Somebody dealt with it already.")


def _current(key: Key, contents: dict[Key, bytes]) -> Wanted | None:
    return decode_wanted(key.entity, contents[key]) if key in contents else None


def _row(one: Shown, wanted: Wanted | None) -> Overruled:
    ours, theirs = json.loads(one.ours), json.loads(one.theirs)
    counts, other = (ours, theirs) if one.kept == "ours" else (theirs, ours)
    stands = wanted is not None and same(twoway.here(wanted).get(one.field), counts)
    open_still = stands and not one.settled_ms
    events = told(one.key, {one.field: other}) if open_still else []
    return Overruled(
        id=f"overruled:{one.id}",
        at_ms=one.at_ms,
        local_type=one.key.local_type,
        local_id=one.key.local_id,
        field=one.field,
        ours=ours,
        theirs=theirs,
        kept=one.kept,
        settled=one.settled_by,
        other=[(event.kind, event.payload) for event in events],
        offers=() if one.settled_ms else (OTHER, FINE) if events else (FINE,),
    )
