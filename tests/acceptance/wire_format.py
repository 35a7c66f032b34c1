"""The bytes of docs/wire-protocol.md: frames, events, stamps, totals and digests, written from
that page alone, with msgpack and no code of this project. Sections named below are its sections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import msgpack

NO_HASH = bytes(32)
DEVICE_ORIGIN = 1
CLOCK_MS_MAX = 253_402_300_799_999  # the end of the year 9999
ACCEPTED, DUPLICATE, QUARANTINED, REFUSED = 1, 2, 3, 4

# §2.1 and §4: names of elements in order; a pair is a name and its default.
EVENT = (
    "format",
    "account",
    "device",
    "epoch",
    "seq",
    "prev",
    "stamp",
    "kind",
    "version",
    "deps",
    "payload",
)
VERDICT = (
    "outcome",
    "count",
    ("first_position", 0),
    ("received_ms", 0),
    ("code", ""),
    ("detail", ""),
)
DECISION = ("index", "stamp", "flags")
SEGMENT = ("first", "count", "chain", "device", "epoch", "origin", "received_ms", "records")
SECTION = ("section", "count", "digest")
HELLO = "version_min version_max token account device epoch head_seq log_id generation cursor"
WELCOME = "version session log_id generation position resume_after device_seq device_hash"
NESTED = {"verdicts": VERDICT, "decisions": DECISION, "segments": SEGMENT, "sections": SECTION}
Names = tuple[str | tuple[str, Any], ...]
FRAMES: dict[int, tuple[str, Names]] = {
    1: ("HELLO", (*HELLO.split(), "chain", "sent_ms", "software", ("knows", []))),
    2: ("WELCOME", (*WELCOME.split(), "next_epoch", "probe_sent_ms", "limits", "scope")),
    3: ("PROBE_REPLY", ("probe_sent_ms", "received_ms", "sent_ms")),
    4: ("PROBE", ("probe_sent_ms", "offset_ms")),
    10: ("PUSH", ("number", "first_seq", "events")),
    11: ("RESULT", ("number", "verdicts", ("decisions", []))),
    20: ("EVENTS", ("through", "chain", "segments")),
    21: ("CURSOR", ("position",)),
    31: (
        "GOODBYE",
        ("code", "message", "close_code", ("retry_after_ms", 0), ("next_epoch", 0)),
    ),
    40: ("DIGEST_REQUEST", ("position",)),
    41: ("DIGEST", ("position", "sections", ("pending", 0))),
    42: ("SYNC_REQUEST", ("run",)),
}
NUMBERS = {name: number for number, (name, _) in FRAMES.items()}


# --- bytes -------------------------------------------------------------------------------------


def pack(value: object) -> bytes:
    """The shortest MessagePack, which is the only one (§2.1)."""
    return bytes(msgpack.packb(value, use_bin_type=True))


def unpack(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False, strict_map_key=True)


def in_order(value: Any) -> Any:
    """`value` with the keys of every map sorted by their bytes (§2.3)."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value, key=str.encode)}
    return [in_order(one) for one in value] if isinstance(value, list) else value


def _named(names: Names, values: list[Any]) -> dict[str, Any]:
    out = {}
    for place, name in enumerate(names):
        key, default = name if isinstance(name, tuple) else (name, None)
        value = values[place] if place < len(values) or default is None else default
        out[key] = [_named(NESTED[key], one) for one in value] if key in NESTED else value
    return out


def _listed(names: Names, values: dict[str, Any]) -> list[Any]:
    keys = [name[0] if isinstance(name, tuple) else name for name in names]
    return [
        [_listed(NESTED[key], one) for one in values[key]] if key in NESTED else values[key]
        for key in keys
    ]


def encode_frame(name: str, **values: Any) -> bytes:
    number = NUMBERS[name]
    return pack([number, *_listed(FRAMES[number][1], values)])


def decode_frame(data: bytes) -> tuple[str, dict[str, Any]]:
    number, *values = unpack(data)
    name, names = FRAMES[number]
    return name, _named(names, values)


def encode_event(event: dict[str, Any]) -> bytes:
    return pack([event[name] for name in EVENT])


def decode_event(data: bytes) -> dict[str, Any]:
    return dict(zip(EVENT, unpack(data), strict=True))


def chain_after(chain: bytes, event_ids: Iterable[bytes]) -> bytes:
    """The chain hash of a log after these events (§4.3)."""
    for event_id in event_ids:
        chain = sha256(chain + event_id).digest()
    return chain


# --- time and money ----------------------------------------------------------------------------


def stamp_of(ms: int, counter: int, node: bytes) -> bytes:
    return ms.to_bytes(6, "big") + counter.to_bytes(2, "big") + node


def next_stamp(last: bytes, now_ms: int, node: bytes) -> bytes:
    """§3.1."""
    ms, counter = int.from_bytes(last[:6], "big"), int.from_bytes(last[6:8], "big")
    now_ms = min(now_ms, CLOCK_MS_MAX)
    if now_ms > ms:
        return stamp_of(now_ms, 0, node)
    return stamp_of(ms, counter + 1, node) if counter < 65_535 else stamp_of(ms + 1, 0, node)


def merge_stamp(raw: bytes, offset_ms: int, received_ms: int, last: bytes) -> tuple[bytes, bool]:
    """What the door decides (§3.3): the merge stamp, and whether the time is disputed."""
    offset = offset_ms if abs(offset_ms) >= 2_000 else 0
    wanted = int.from_bytes(raw[:6], "big") - offset
    if wanted > received_ms + 300_000:
        return next_stamp(last, received_ms, raw[8:]), True
    shown = min(max(wanted, 0), 2**48 - 1)
    moved = stamp_of(shown, int.from_bytes(raw[6:8], "big"), raw[8:]) if offset else raw
    return (moved if moved > last else next_stamp(last, wanted, raw[8:])), False


def line_minor(qty_e3: int, price_e4: int, digits: int) -> int:
    """A line's total in minor units, halves away from zero (§2.3)."""
    product = qty_e3 * price_e4
    unit = int(10 ** (7 - digits))
    rounded = (2 * abs(product) + unit) // (2 * unit)
    return rounded if product >= 0 else -rounded


def content_minor(content: dict[str, Any], digits: int) -> int:
    lines: int = sum(line_minor(qty, price, digits) for _, _, qty, price, _ in content["lines"])
    more: int = content.get("shipping_minor", 0) + content.get("fees_minor", 0)
    less: int = content.get("discount_minor", 0)
    return lines + more - less


# --- digests (§7) ------------------------------------------------------------------------------


class Record(NamedTuple):
    event: bytes
    stamp: bytes
    origin: int

    @property
    def tag(self) -> bytes:
        return self.stamp + sha256(self.event).digest()


class Fact(NamedTuple):
    kind: str
    tag: bytes
    origin: int
    payload: dict[str, Any]
    entry: list[Any]


TYPES = {"customer", "product", "stock", "order", "quote", "return", "payment", "note"}
TYPES |= {"device", "sync", "class", "department", "twin"}


def named(kind: str, payload: dict[str, Any]) -> tuple[str, str]:
    """Type and id of the document that an event belongs to."""
    of = kind.partition(".")[0]
    if of == "note":
        return of, f"{payload['about_type']}:{payload['about']}"
    return of, payload[{"stock": "product", "sync": "run"}.get(of, of)]


def _by_field(facts: list[Fact]) -> list[Fact]:
    kept = {facts[-1].tag} if facts else set()
    for name in {name for fact in facts for name in fact.payload["fields"]}:
        kept |= {fact.tag for fact in [f for f in facts if name in f.payload["fields"]][-9:]}
    return [fact for fact in facts if fact.tag in kept]


def _per_system(facts: list[Fact]) -> list[Fact]:
    return list({fact.payload["system"]: fact for fact in facts}.values())


def _per_value(facts: list[Fact]) -> list[Fact]:
    return list({(fact.payload["field"], fact.payload["was"]): fact for fact in facts}.values())


def _existence(facts: list[Fact]) -> list[Fact]:
    web = [fact for fact in facts if fact.origin == 2]
    return web[-9:] + [fact for fact in facts if fact.origin != 2][-9:]


def _stock(facts: list[Fact]) -> list[Fact]:
    counts = [fact for fact in facts if fact.kind == "stock.counted"]
    since = counts[-1].tag if counts else b""
    moves = [fact for fact in facts if fact.kind == "stock.moved" and fact.tag > since]
    return counts[-9:] + moves


def _ends(first: int, last: int) -> Callable[[list[Fact]], list[Fact]]:
    def keep(facts: list[Fact]) -> list[Fact]:
        return list({f.tag: f for f in facts[:first] + facts[len(facts) - last :][:last]}.values())

    return keep


# Kinds that are looked at together, and which of their facts (oldest first) stay.
KEEP: list[tuple[str, Callable[[list[Fact]], list[Fact]]]] = [
    ("customer.created customer.changed", _by_field),
    ("product.created product.changed", _by_field),
    ("order.drafted order.changed", _by_field),
    ("customer.deleted customer.restored", _existence),
    ("product.deleted product.restored", _existence),
    ("class.created class.changed", _by_field),
    ("class.deleted class.restored", _existence),
    ("department.created department.changed", _by_field),
    ("department.deleted department.restored", _existence),
    ("customer.linked", _per_system),
    ("customer.followed", _per_system),
    ("product.linked", _per_system),
    ("product.followed", _per_system),
    ("class.linked", _per_system),
    ("department.linked", _per_system),
    ("order.followed", _per_system),
    ("quote.followed", _per_system),
    ("order.estimated", _per_system),
    ("order.parked", _per_system),
    ("quote.estimated", _per_system),
    ("quote.parked", _per_system),
    ("stock.counted stock.moved", _stock),
    ("order.line_put order.line_removed", _ends(20_000, 0)),
    ("order.committed", _ends(4, 0)),
    ("return.committed", _ends(4, 0)),
    ("order.amended", _ends(0, 4)),
    ("quote.committed", _ends(0, 4)),
    ("payment.recorded", _ends(9, 0)),
    ("device.enrolled", _ends(0, 9)),
    ("note.edited", _ends(5_000, 0)),
    ("order.cancelled", _ends(0, 1)),
    ("quote.withdrawn", _ends(0, 1)),
    ("device.revoked", _ends(0, 1)),
    ("device.scoped", _ends(0, 1)),
    ("sync.finished", _ends(0, 1)),
    ("order.corrected", _per_value),
    ("quote.corrected", _per_value),
    ("twin.found", _ends(1, 0)),
    ("twin.decided", _ends(0, 9)),
]
KINDS = {kind for kinds, _ in KEEP for kind in kinds.split()}
WITH_DEPS = {"order.committed", "order.amended"}


def states(records: Iterable[Record]) -> dict[tuple[str, str], bytes]:
    """Every document's state bytes."""
    facts: dict[tuple[str, str], list[Fact]] = {}
    for record in sorted(records, key=lambda one: one.tag):
        event = decode_event(record.event)
        kind = event["kind"]
        if kind not in KINDS or event["version"] != 1:
            continue
        deps = event["deps"] if kind in WITH_DEPS else []
        payload = unpack(event["payload"])
        entry = [record.tag, record.origin, event["payload"], deps]
        fact = Fact(kind, record.tag, record.origin, payload, entry)
        facts.setdefault(named(kind, payload), []).append(fact)
    return {key: _state(its) for key, its in facts.items()}


def _state(facts: list[Fact]) -> bytes:
    state: dict[str, list[Any]] = {}
    for kinds, keep in KEEP:
        for fact in keep([fact for fact in facts if fact.kind in kinds.split()]):
            state.setdefault(fact.kind, []).append(fact.entry)
    return pack(in_order({kind: sorted(entries) for kind, entries in state.items()}))


def document_hash(key: tuple[str, str], state: bytes) -> bytes:
    return sha256(pack([*key, state])).digest()


def sections(documents: dict[tuple[str, str], bytes]) -> list[dict[str, Any]]:
    """One line for every type of documents, as DIGEST carries them."""
    sums: dict[str, list[int]] = {}
    for key, state in documents.items():
        sums.setdefault(key[0], []).append(int.from_bytes(document_hash(key, state), "big"))
    return [
        {"section": name, "count": len(some), "digest": (sum(some) % 2**256).to_bytes(32, "big")}
        for name, some in sorted(sums.items())
    ]


def unpack_records(data: bytes) -> Iterator[tuple[bytes, bytes | None, int]]:
    """Event, merge stamp (None where the raw one stands) and flags of each record (§4)."""
    unpacker = msgpack.Unpacker(raw=False)
    unpacker.feed(data)
    yield from unpacker
