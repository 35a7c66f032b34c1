"""The auditor: what must hold, checked with code of its own.

Reads the log's bytes with a plain msgpack reader and SHA-256, compares what people saved with what
is there, and every replica with every other. Shares no merge code, no decoder and no rule with the
product (reliability §3). What the documents must say is in :mod:`tests.simulation.model`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgpack

from tests.simulation.disk import DiskLog

AHEAD_MS = 300_000
OFFSET_ERROR_MS = 30_000  # half a probe's longest way, and what stamps may run ahead
SINK_KINDS = ("linked", "estimated", "parked")
WEB_KINDS = (
    *("device.enrolled", "device.revoked", "device.scoped", "sync.finished"),
    *("twin.found", "twin.decided"),
)


class Broken(AssertionError):
    """An invariant does not hold. The text begins with its number."""


def demand(holds: object, text: str) -> None:
    if not holds:
        raise Broken(text)


class Row(NamedTuple):
    """One accepted event as the log's bytes say it."""

    position: int
    id: bytes
    device: bytes
    epoch: int
    seq: int
    prev: bytes
    raw: bytes
    stamp: bytes
    flags: int
    origin: int
    received_ms: int
    kind: str
    version: int
    deps: tuple[bytes, ...]
    body: bytes

    @property
    def tag(self) -> bytes:
        return self.stamp + self.id

    @property
    def said(self) -> Any:
        return msgpack.unpackb(self.body)


def said_key(kind: str, body: bytes) -> str:
    """What was said, by content. Ids inside a removal change when an event is said again."""
    said = msgpack.unpackb(body)
    said.pop("seen", None)
    if "content" in said:
        said = {name: value for name, value in said.items() if name != "content"} | {
            "total": said["content"]["total_minor"],
            "note": said["content"].get("note"),
        }
    return kind + " " + ", ".join(f"{name}={value}" for name, value in sorted(said.items()))


def kind_and_body(data: bytes) -> tuple[str, bytes]:
    """What an event says, from its bytes."""
    *_, kind, _, _, body = msgpack.unpackb(data)
    return kind, body


class Notebook:
    """What people were told, by what they said: saved, perhaps saved, and acknowledged."""

    def __init__(self) -> None:
        self.saved: dict[str, Counter[str]] = {"log": Counter(), "aside": Counter()}
        self.perhaps: Counter[str] = Counter()
        self.acked: set[bytes] = set()
        self.dependants: set[bytes] = set()
        self.made_ms: dict[bytes, int] = {}  # when, by a clock that nobody in the world has
        # What a device had made by then came in, or follows on what did, when nobody knew yet how
        # wrong its clock is.
        self.timeless_ms: dict[bytes, int] = {}

    def note(self, kind: str, body: bytes, *, sure: bool, fate: str = "log") -> None:
        key = said_key(kind, body)
        if sure and fate in self.saved:
            self.saved[fate][key] += 1
        else:
            self.perhaps[key] += 1

    def excuse(self, kind: str, body: bytes) -> None:
        """It was lost together with the only copy: nobody promises more."""
        key = said_key(kind, body)
        for saved in self.saved.values():
            if saved[key] > 0:
                saved[key] -= 1
                self.perhaps[key] += 1

    def acknowledged(self, ids: Sequence[bytes], verdicts: Iterable[Sequence[Any]]) -> None:
        at = 0
        for outcome, count, *_ in verdicts:
            if outcome in (1, 2):
                self.acked.update(ids[at : at + count])
            at += count


def read_log(log: DiskLog) -> list[Row]:
    """Every accepted event, checked against its segment (I-4) and the log's chain (I-6)."""
    rows: list[Row] = []
    chain = bytes(32)
    for _, _, segment in log.state.segments:
        demand(segment.first == len(rows) + 1, f"I-4: a gap before position {segment.first}")
        unpacker = msgpack.Unpacker()
        unpacker.feed(segment.records)
        for data, stamp, flags in unpacker:
            row = _row(len(rows) + 1, data, stamp, flags, segment)
            chain = sha256(chain + row.id).digest()
            rows.append(row)
        demand(segment.first + segment.count == len(rows) + 1, "I-4: a segment miscounts")
        demand(chain == segment.chain, f"I-6: the chain breaks at position {len(rows)}")
    return rows


def _row(position: int, data: bytes, stamp: bytes | None, flags: int, segment: Any) -> Row:
    (_, _, device, epoch, seq, prev, raw, kind, version, deps, body) = msgpack.unpackb(data)
    demand((device, epoch) == (segment.device, segment.epoch), "I-7: another's event")
    return Row(
        position,
        sha256(data).digest(),
        device,
        epoch,
        seq,
        prev,
        raw,
        stamp or raw,
        flags,
        segment.origin,
        segment.received_ms,
        kind,
        version,
        tuple(deps),
        body,
    )


def check_log(rows: Sequence[Row], log: DiskLog) -> None:
    """I-2, I-5, I-7, I-8, I-19, I-27 over the whole log."""
    demand(len({row.id for row in rows}) == len(rows), "I-2: one event stands in the log twice")
    chains: dict[tuple[bytes, int], dict[int, tuple[bytes, bytes | None]]] = {}
    for row in rows:
        chain = chains.setdefault((row.device, row.epoch), {})
        demand(row.seq not in chain, f"I-5: two events at seq {row.seq}")
        chain[row.seq] = (row.id, row.prev)
    for device, epoch, aside in log.asides:
        prev = msgpack.unpackb(aside.event)[5] if aside.event else None
        chains.setdefault((device, epoch), {})[aside.seq] = (aside.id, prev)
        demand(aside.code and aside.detail, "I-19: an event is kept aside without a reason")
    for chain in chains.values():
        before: bytes | None = bytes(32)
        for seq in range(1, len(chain) + 1):
            demand(seq in chain, f"I-5: seq {seq} is missing")
            identity, prev = chain[seq]
            demand(prev in (None, before), f"I-5: seq {seq} does not name the event before it")
            before = identity
    _check_times(rows)
    for row in rows:
        _check_payload(row)


def _check_times(rows: Sequence[Row]) -> None:
    last: dict[tuple[bytes, int], bytes] = {}
    for row in rows:
        key = (row.device, row.epoch)
        before = last.get(key, bytes(16))
        demand(row.stamp > before, f"I-8: merge time stands still at position {row.position}")
        ms = int.from_bytes(row.stamp[:6], "big")
        bound_ms = max(row.received_ms + AHEAD_MS, int.from_bytes(before[:6], "big") + 1)
        demand(ms <= bound_ms, f"I-8: position {row.position} is {ms - row.received_ms} ms ahead")
        last[key] = row.stamp


def _check_payload(row: Row) -> None:
    name = row.kind.partition(".")[2]
    if name in SINK_KINDS:
        demand(row.origin == 3, f"I-7: {row.kind} was let in from origin {row.origin}")
    if row.kind in WEB_KINDS:
        demand(row.origin == 2, f"I-7: {row.kind} was let in from origin {row.origin}")
    demand(not _has_float(row.said), f"I-27: a float at position {row.position}")
    content = row.said.get("content")
    if content is not None and row.version == 1:
        total_minor = content_total_minor(content)
        demand(content["total_minor"] == total_minor, f"I-27: {row.kind} does not add up")


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_float(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_float(item) for item in value)
    return isinstance(value, float)


def content_total_minor(content: dict[str, Any]) -> int:
    """Lines rounded one by one, halves away from zero, spelled out digit by digit."""
    places = {"JPY": 0}.get(content["currency"], 2)
    total = content.get("shipping_minor", 0) + content.get("fees_minor", 0)
    total -= content.get("discount_minor", 0)
    for _, _, qty_e3, price_e4, *_ in content["lines"]:
        exact = abs(qty_e3 * price_e4)
        unit = 10 ** (7 - places)
        whole, rest = exact // unit, exact % unit
        amount = whole + (1 if rest * 2 >= unit else 0)
        total += amount if qty_e3 * price_e4 > 0 else -amount
    return int(total)


def check_saved(
    rows: Sequence[Row], log: DiskLog, notebook: Notebook, held: Counter[str], *, once: bool
) -> None:
    """I-1 and I-3: what was saved is there, ``once`` where that is promised. ``held`` still waits
    on a revoked device."""
    there: Counter[str] = Counter()
    for row in rows:
        if row.origin != 3:
            there[said_key(row.kind, row.body)] += 1
    aside = _aside_keys(log)
    for key, count in notebook.saved["log"].items():
        found = there[key] + held[key]
        demand(found >= count, f"I-1: lost {count - found} of {count}: {key}")
    for key, count in there.items():
        allowed = notebook.saved["log"][key] + notebook.perhaps[key]
        demand(
            count <= allowed or not once, f"I-3: told {count} times, saved {allowed} times: {key}"
        )
    for key, count in notebook.saved["aside"].items():
        found = aside[key] + held[key]
        demand(found >= count, f"I-19: neither in the log nor kept aside: {key}")
        demand(there[key] <= notebook.perhaps[key], f"I-19: a bad event got in: {key}")
    standing = {row.id for row in rows}
    lost = notebook.acked - standing
    demand(not lost, f"I-1: {len(lost)} acknowledged events are not in the log")


def check_dependants(rows: Sequence[Row], notebook: Notebook) -> None:
    """What builds on a bad event waits with it."""
    let_in = notebook.dependants & {row.id for row in rows}
    demand(not let_in, "I-19: an event got in before the one that it builds on")


def check_moments(rows: Sequence[Row], notebook: Notebook) -> None:
    """Where no clock was set, merge time is the time at which it happened, however wrong the
    device's clock is; as exact as an offset measured through a slow wire can be (CON-08)."""
    for row in rows:
        made_ms = notebook.made_ms.get(row.id)
        known = made_ms is not None and made_ms > notebook.timeless_ms.get(row.device, -1)
        if made_ms is not None and known and not row.flags:
            off_ms = int.from_bytes(row.stamp[:6], "big") - made_ms
            demand(abs(off_ms) <= OFFSET_ERROR_MS, f"CON-08: a merge time is {off_ms} ms off")


def _aside_keys(log: DiskLog) -> Counter[str]:
    aside: Counter[str] = Counter()
    for _, _, one in log.asides:
        if one.event:
            aside[said_key(*kind_and_body(one.event))] += 1
    return aside


def marked(row: dict[str, Any]) -> str:
    """The last line of a private note: which document of ours it is."""
    return str(row.get("PrivateNote", row["Id"])).rpartition("\n")[2]
