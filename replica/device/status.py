"""What a device tells about itself: modes and words a user can read, counts a program can test."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from replica.crdt.digest import SectionTotal
from replica.crdt.documents import DocKey
from replica.device.notices import Notice
from replica.events.event import EventId
from replica.limits import CLOCK_OFFSET_NOISE_MS


class Mode(StrEnum):
    """How the device stands to its server. Appending and reading work in every mode."""

    OFFLINE = "offline"  # no connection; the link tries again by itself while it is started
    CONNECTING = "connecting"
    ONLINE = "online"
    REVOKED = "revoked"  # the office took this device out; unsent work stays on it
    FORBIDDEN = "forbidden"  # the token is not accepted; enrol again
    UPGRADE_REQUIRED = "upgrade_required"  # the program is too old for the server (OFF-23)
    FAILED = "failed"  # the journal cannot be trusted; open it again


RESTING = frozenset({Mode.REVOKED, Mode.FORBIDDEN, Mode.UPGRADE_REQUIRED, Mode.FAILED})
"""Modes in which trying again by itself would change nothing: there is no reconnect storm."""


class Rejected(NamedTuple):
    """An own event that is not in the log, and why. Its bytes stay in the journal (I-19)."""

    kind: str
    type: str  # of the document it is about; empty when that cannot be read
    id: str
    state: str  # "quarantined" (see Device.resubmit) or "refused"
    code: str
    reason: str
    payload: bytes
    event: EventId
    fix: str  # what to do about it; the office reads the same words


class Progress(NamedTuple):
    """Documents of one section that come in bulk: how many are in, of how many (SYN-14)."""

    section: str
    done: int
    total: int


class Status(NamedTuple):
    """One consistent reading of a device."""

    mode: Mode
    text: str  # the mode in words, with the reason
    pending: int  # own events that the server has not answered
    last_sync_ms: int | None  # device clock when everything was last exchanged; None for never
    last_proof_ms: int | None  # device clock when digests were last compared and equal
    skew_ms: int  # the device's clock minus the server's, as last measured
    skew_text: str  # empty while the clock is good enough
    cursor: int  # position in the server's log that this device holds everything up to
    server_position: int  # how far that log is known to go: with ``cursor``, the progress (SYN-14)
    sections: tuple[SectionTotal, ...]
    rejected: tuple[Rejected, ...]
    fetching: tuple[Progress, ...] = ()  # documents on their way in bulk: a first sync (SYN-01)
    stored_ms: int | None = None  # device clock when all of its scope was stored; None without one
    scope_text: str = ""  # what the user has to know of the scope; empty when that is nothing
    notices: tuple[Notice, ...] = ()  # what the user has to know and did not put away yet
    waiting: int = 0  # events of others that came and wait for a sync; there may be more (SYN-11)


class SyncResult(NamedTuple):
    """What one round did, and its proof."""

    sent: int  # own events the server answered
    received: int  # events of others taken in
    quarantined: int
    refused: int
    position: int  # what the two digests hold for
    digest: tuple[SectionTotal, ...]
    equal: bool  # the server's digest at the same position is this one (SYN-03)
    mended: tuple[DocKey, ...] = ()  # documents that differed and were taken from the server


class Ladder(NamedTuple):
    """How far one order has come: on the device, on the server, in the accounting system."""

    order: str
    number: str
    on_device: bool
    server_position: int | None  # None until the server answered, or when another device sealed it
    estimate_system: str
    estimate_number: str
    state: str  # "unknown", "on_device", "rejected", "on_server", "estimated", "parked"
    text: str


class Held(NamedTuple):
    """What this device holds (wire-protocol.md §14); a list is None for all."""

    version: int
    customers: tuple[str, ...] | None
    prospects: tuple[str, ...] | None
    products: tuple[str, ...] | None
    orders: str  # "team" or "own"
    granted_ms: int  # the office's clock
    until_ms: int  # 0: no end
    strict: bool  # what is held is hidden when it has ended
    leaving: tuple[str, ...]  # customers that leave when unsent work is in

    def hides(self, now_ms: int) -> bool:
        """Whether it has ended and nothing is to be seen."""
        return self.strict and self.expired(now_ms)

    def expired(self, now_ms: int) -> bool:
        return 0 < self.until_ms <= now_ms

    def words(self, now_ms: int) -> str:
        """One sentence or some for the user: why he sees nothing, or what is about to change
        (CFG-04, CFG-06). Empty when there is nothing to say."""
        said = []
        if self.customers == () and self.prospects == () and self.products == ():
            said.append(
                "Nothing was chosen for this device, so there is nothing to see: choose customers,"
                " prospects or products, or all of them, while it is online."
            )
        if self.expired(now_ms):
            age = _duration((now_ms - self.granted_ms) // 1_000)
            rest = "it is hidden until a new one is made" if self.strict else "it can still be read"
            said.append(f"The selection is {age} old and has ended; {rest}.")
        if self.leaving:
            number = len(self.leaving)
            who = "1 customer goes" if number == 1 else f"{number} customers go"
            said.append(f"{who} to another device when the work of this one is sent.")
        return " ".join(said)


def skew_words(skew_ms: int) -> str:
    """A wrong clock in words; nothing is refused because of it (CON-08)."""
    if abs(skew_ms) < CLOCK_OFFSET_NOISE_MS:
        return ""
    side = "ahead of" if skew_ms > 0 else "behind"
    return (
        f"this device's clock is {_duration(abs(skew_ms) // 1000)} {side} the server's; "
        "times are corrected, nothing is lost"
    )


def _duration(seconds: int) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}s"
    return f"{seconds} seconds"
