"""How far a first sync of a scope is, kept with each page so that it goes on where it was (SYN-01).

While there is one, pages come in the order of their use instead of that of the log, and what the
scope amounts to comes with them: that is the progress (SYN-14, wire-protocol.md section 14.2).
"""

from __future__ import annotations

from collections import Counter

import msgspec

from replica.device.holding import Holding
from replica.device.status import Progress
from replica.sync.scope import Page


class First(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ahead`` is what the newest page said; totals and what is in are counts per section."""

    ahead: str = "0"
    totals: dict[str, int] = {}
    done: dict[str, int] = {}

    def after(self, page: Page) -> First | None:
        """How far it is with ``page``; None when the pages ahead are over."""
        if not page.ahead:
            return None
        came = Counter(one.type for one in page.documents)
        return First(
            page.ahead,
            self.totals or {one.section: one.count for one in page.sections},
            {name: self.done.get(name, 0) + came[name] for name in {*self.done, *came}},
        )

    def progress(self) -> tuple[Progress, ...]:
        """Per section; a document that changes meanwhile may be counted when it comes again."""
        return tuple(
            Progress(section, min(self.done.get(section, 0), total), total)
            for section, total in self.totals.items()
        )


def under_way(holding: Holding) -> First | None:
    """Where a first sync is to go on, or to begin; None for a device that had its first."""
    with holding.lock:
        if holding.journal.place.scope_at:
            return None
        found = holding.journal.importing()
        return msgspec.json.decode(found[0], type=First) if found else First()


def keep(holding: Holding, was: First | None, now: First | None) -> None:
    """Inside the commit of a page: this is how far it is."""
    if now is not None:
        holding.journal.put_import(msgspec.json.encode(now), 0)
    elif was is not None:
        holding.journal.end_import()
