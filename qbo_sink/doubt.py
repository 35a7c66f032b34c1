"""What to do about a write whose outcome is unknown. Pure.

A look comes before every resend, and a resend repeats the same bytes under the same request id, so
two layers would have to fail together for a second document. While QuickBooks may be trusted to
remember the id, one look that finds nothing allows the resend; after that, two looks a minute apart
must both find nothing. The id never changes while in doubt (quickbooks.md §2.2).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol

from replica.limits import QBO_DOUBT_WAITS_MS, QBO_LOOK_GAP_MS, QBO_REQUESTID_TRUST_MS

WORDED_TRIES_MAX = 3
"""Sends that QuickBooks answered with an error of its own before they count as a refusal."""


class Move(StrEnum):
    LOOK = "look"
    SEND = "send"


class Doubt(Protocol):
    """What is known of the write; times in milliseconds, zero for never."""

    @property
    def sends(self) -> int: ...
    @property
    def looks(self) -> int: ...
    @property
    def first_sent_ms(self) -> int: ...
    @property
    def looked_ms(self) -> int: ...
    @property
    def code(self) -> str: ...


class Next(NamedTuple):
    move: Move
    due_ms: int


def wait_ms(sends: int) -> int:
    """How long to wait before looking into the ``sends``-th send, or before asking again."""
    return QBO_DOUBT_WAITS_MS[min(max(sends, 1), len(QBO_DOUBT_WAITS_MS)) - 1]


def next_move(doubt: Doubt, due_ms: int) -> Next:
    """The next step and when. ``due_ms`` is the earliest moment the ledger allows."""
    if doubt.looks == 0:
        return Next(Move.LOOK, due_ms)
    trusted = doubt.looked_ms - doubt.first_sent_ms <= QBO_REQUESTID_TRUST_MS
    if trusted or doubt.looks >= 2:
        return Next(Move.SEND, due_ms)
    return Next(Move.LOOK, max(due_ms, doubt.looked_ms + QBO_LOOK_GAP_MS))


def is_refusal(doubt: Doubt) -> bool:
    """After a look that found nothing: whether an error that QuickBooks words again and again is a
    refusal. Never for silence: an outage may last as long as it likes."""
    return bool(doubt.code) and doubt.sends >= WORDED_TRIES_MAX
