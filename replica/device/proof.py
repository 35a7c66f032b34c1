"""The proof at the end of a round: both sides hold the same, shown by digests. Pure.

Digests can be compared only when both hold for the same position, while the log may be moving. So
the server is asked where it is; the device catches up to there; the server is asked for exactly
that position; and when it has moved on meanwhile, the device follows, a bounded number of times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from replica.crdt.digest import SectionTotal
from replica.limits import PROOF_ASKS_MAX

if TYPE_CHECKING:
    from replica.sync.messages import Digest


class Level(NamedTuple):
    """Where the device is: what its documents are the fold of."""

    cursor: int
    pending: int
    answered_through: int
    sections: tuple[SectionTotal, ...]


class Ask(NamedTuple):
    """Ask the server for its digest at ``position``; 0 for wherever it is."""

    position: int


class Proved(NamedTuple):
    """The end: ``equal`` at ``position``."""

    equal: bool
    position: int


class Proof:
    """One comparison. Call :meth:`next` whenever something moved, :meth:`answered` with answers."""

    def __init__(self) -> None:
        self._theirs: Digest | None = None
        self._asked = 0
        self._waiting = False

    def next(self, level: Level) -> Ask | Proved | None:
        """What to do now; None to wait until something moves."""
        if self._waiting or level.pending or level.answered_through > level.cursor:
            return None
        if self._theirs is None:
            return self._ask(0)
        if self._theirs.position > level.cursor:
            return None
        if self._theirs.position == level.cursor:
            theirs = {(one.section, one.count, one.digest) for one in self._theirs.sections}
            ours = {(one.section, one.count, one.digest) for one in level.sections}
            return Proved(theirs == ours, level.cursor)
        if self._asked >= PROOF_ASKS_MAX:
            return Proved(equal=False, position=0)
        return self._ask(level.cursor)

    def answered(self, digest: Digest) -> None:
        """The server's digest has come."""
        self._waiting = False
        self._theirs = digest

    def _ask(self, position: int) -> Ask:
        self._asked += 1
        self._waiting = True
        return Ask(position)
