"""What a peer asks of its edge, and the values an edge hands in (architecture.md §6).

An edge performs effects in the order given and decides nothing. ``Send``, ``Close``, ``TakeDigest``
and ``DigestReceived`` occur at both ends; the rest is marked with its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from replica.events.ports import DeviceHead, LogHead
from replica.events.record import Segment
from replica.sync.messages import (
    Decision,
    Digest,
    Events,
    Goodbye,
    Hello,
    Verdict,
    Welcome,
    encode_frame,
)

# Both ends ---------------------------------------------------------------------------------------


class Send(NamedTuple):
    """Write one binary websocket message."""

    data: bytes


class Close(NamedTuple):
    """Last effect of a connection: close the socket with ``goodbye.close_code`` once everything
    sent before is flushed. ``theirs``: the other end said it first."""

    goodbye: Goodbye
    theirs: bool


class TakeDigest(NamedTuple):
    """Compute the digest of the documents at ``position`` (0: now) and call ``digested``."""

    position: int


class DigestReceived(NamedTuple):
    """The other end's state, as asked for with ``ask_digest`` or ``ask_sync``."""

    digest: Digest


class Offset(NamedTuple):
    """The device's clock minus the server's, in ms, as measured so far. For showing."""

    offset_ms: int


# Server ------------------------------------------------------------------------------------------


class Authenticate(NamedTuple):
    """Check the token; then call ``authenticated`` with a :class:`Standing`, or ``failed``."""

    hello: Hello


class Pushed(NamedTuple):
    """The device pushed. Call ``take`` when the door can look at it, put the ``Append`` it gives
    through the door (``replica.ingest.admit``), then call ``appended`` with the settlement, or
    ``failed`` when the store could not answer.

    Up to ``APPENDS_IN_FLIGHT_MAX`` at a time, each decided after the one before and answered in
    that order. What arrives before ``take`` is called may be in the same ``Append``.
    """


class Append(NamedTuple):
    """Events of the session's device that continue each other, of one push or of several."""

    first_seq: int
    events: tuple[bytes, ...]
    offset_ms: int
    received_ms: int


class Read(NamedTuple):
    """Call ``loaded`` with ``Log.read(account, after, limit_bytes)``. One at a time."""

    after: int
    limit_bytes: int


class Confirmed(NamedTuple):
    """Everything up to ``position`` is durable on the device."""

    position: int


class Standing(NamedTuple):
    """What the server knows of a device that it has let in.

    ``device_heads`` is ``Log.device_heads(account, device)`` and is read first, ``head`` is
    ``Log.head(account)``, ``chain_at_cursor`` is ``Log.chain_at(account, hello.cursor)``;
    ``session`` are 8 fresh random bytes. In that order, an event of the device that is committed
    meanwhile is offered again and found, never left out. ``scope`` is the version of the scope that
    bounds the device, 0 for none: its documents come over HTTP then and not from the log (§14).
    """

    head: LogHead
    chain_at_cursor: bytes | None
    device_heads: Sequence[DeviceHead]
    session: bytes
    scope: int = 0


class Offer(NamedTuple):
    """Segments just committed, adjoining, with the EVENTS frame for all who wrote none of them.
    What every reader asks is worked out once, for all of them."""

    segments: tuple[Segment, ...]
    frame: bytes
    first: int
    last: int
    writers: frozenset[tuple[bytes, int]]  # (device, epoch)


def make_offer(segments: Sequence[Segment]) -> Offer:
    """Encode once for all readers. Keep ``segments`` below ``EVENTS_BYTES_TARGET`` of records."""
    end = segments[-1]
    return Offer(
        segments=tuple(segments),
        frame=encode_frame(Events(end.last, end.chain, tuple(segments))),
        first=segments[0].first,
        last=end.last,
        writers=frozenset((one.device, one.epoch) for one in segments),
    )


# Device ------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where the device stands when it connects, read from its journal in one transaction, after
    every effect of the connection before was performed or given up."""

    token: str
    account: bytes
    device: bytes
    epoch: int
    head_seq: int  # last seq made in ``epoch``
    answered_seq: int  # every event up to here has its outcome stored
    log_id: bytes  # empty before the first WELCOME
    generation: int
    cursor: int
    chain: bytes  # chain hash at ``cursor``
    answered_through: int  # highest position of an own accepted event, 0 for none
    software: str


class Welcomed(NamedTuple):
    """The server answered. Store ``log_id`` and ``generation`` (after ``Reset`` when both come)."""

    welcome: Welcome


class Reset(NamedTuple):
    """The log is not the one the cursor belongs to (§6).

    In one transaction: drop the documents, set the cursor to 0, treat own events above
    ``device_seq`` as unanswered. Everything comes again, own events up to there included; the rest
    is offered again. No own event is ever deleted.
    """

    log_id: bytes
    generation: int
    device_seq: int


class ReadOutbox(NamedTuple):
    """Call ``loaded`` with an :class:`OutboxPage` of own events after ``after_seq``, answered or
    not, as many as fit but at least one if there is any. One at a time."""

    after_seq: int
    limit_bytes: int
    limit_events: int


class OutboxPage(NamedTuple):
    """Own events in seq order; ``prev`` is the id of the event at ``after_seq`` (zeros for 0,
    empty when it is not known any more). No events: nothing (more) is to be pushed now."""

    prev: bytes
    events: tuple[bytes, ...]


class Settled(NamedTuple):
    """Outcomes of own events from ``first_seq`` on. Store them and fold the accepted ones in one
    transaction; :func:`replica.sync.verdicts.answers` spells them out."""

    first_seq: int
    verdicts: tuple[Verdict, ...]
    decisions: tuple[Decision, ...]


class Apply(NamedTuple):
    """Fold the segments and store the cursor (``through``, ``chain``) in one transaction, then
    call ``appended(through)`` (pitfalls P49). One at a time."""

    segments: tuple[Segment, ...]
    through: int
    chain: bytes


class SyncRequested(NamedTuple):
    """Somebody pressed Sync Now for the account; the peer does the rest."""

    run: str


class ForkFound(NamedTuple):
    """This device's chain and the server's differ: a clone or a restored backup (§6).

    In one transaction: make the unanswered events again under ``next_epoch``, set the cursor to 0.
    Then connect again.
    """

    next_epoch: int


Effect = (
    Send
    | Close
    | TakeDigest
    | DigestReceived
    | Offset
    | Authenticate
    | Pushed
    | Read
    | Confirmed
    | Welcomed
    | Reset
    | ReadOutbox
    | Settled
    | Apply
    | SyncRequested
    | ForkFound
)
