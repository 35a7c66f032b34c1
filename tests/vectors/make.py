"""Writes the vectors: fixed inputs, and what every client in any language must make of them.

Run ``python -m tests.vectors.make`` after a deliberate change of a format, and say in the commit
why the format changed. Bytes are hex. Nothing here depends on time, chance or hash seeds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from replica.crdt.digest import SectionTotals, document_hash
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.crdt.view import view
from replica.events import payloads as p
from replica.events.clock import ZERO_STAMP, Stamp, correct, make_stamp, tick
from replica.events.event import GENESIS, decode_event, encode_event, event_id
from replica.events.kinds import build_event, encode_payload
from replica.events.money import content_total_minor, line_total_minor
from replica.events.record import Flag, Origin, Record, encode_record, extend_chain

FOLDER = Path(__file__).parent
ACCOUNT = bytes.fromhex("a0" * 16)
PHONE = bytes.fromhex("0102030405060708090a0b0c0d0e0f10")
OFFICE = bytes.fromhex("1112131415161718191a1b1c1d1e1f20")
BOOKS = bytes.fromhex("2122232425262728292a2b2c2d2e2f30")
START_MS = 1_772_366_400_000  # 2026-03-01T12:00:00Z

CONTENT = p.Content(
    number="A-7",
    customer="c-17850",
    currency="USD",
    date="2026-03-01",
    total_minor=6_235,
    lines=(
        p.SealedLine("1", "p-85123A", 6_000, 25_500, "Heart holder"),
        p.SealedLine("2", "p-71053", 1_500, 33_900),
    ),
    delivery_address=p.Address(line1="1 Côte Rd", city="Łódź"),
    memo="Danke, 谢谢",
    class_="north",
    shipping_minor=4_196,
    offline=True,
)

PAYLOADS: tuple[p.Payload, ...] = (
    p.CustomerCreated("c-17850", p.CustomerFields(name="Acme Ltd", email=None, tax_exempt=False)),
    p.ProductChanged("p-85123A", p.ProductFields(price_e4=25_500, taxable=True)),
    p.StockCounted("p-85123A", 40_000),
    p.StockMoved("p-85123A", -2_500, "breakage"),
    p.OrderLinePut("o-1", "1", p.LineFields(product="p-85123A", qty_e3=6_000)),
    p.OrderLineRemoved("o-1", "1", (bytes(32),)),
    p.OrderCommitted("o-1", CONTENT),
    p.OrderEstimated("o-1", "books", "147", "1042", 6_235),
    p.PaymentRecorded("m-1", "o-1", "c-17850", "cash", 6_235, "USD"),
    p.NoteEdited("order", "o-1", bytes.fromhex("010107000401047465787402686900")),
    p.OrderCorrected("o-1", "number", "A-7", "A-7-2"),
    p.TwinFound("0f" * 16, "customer", "c-17850", "c-2", "name"),
    p.TwinDecided("0f" * 16, "same", "c-2"),
    p.SyncFinished("r-1", START_MS, START_MS + 900, 3, 4, True, {"order": "equal"}),
)


class Chain:
    """The events of one device, a second apart."""

    def __init__(self, device: bytes, origin: Origin) -> None:
        self.device = device
        self.origin = origin
        self.stamp = ZERO_STAMP
        self.prev: bytes = GENESIS
        self.seq = 0

    def add(self, payload: p.Payload, after_s: int, deps: tuple[bytes, ...] = ()) -> Record:
        ms = START_MS + 1_000 * after_s
        self.stamp = tick(self.stamp, ms, self.device[8:])
        self.seq += 1
        data = build_event(ACCOUNT, self.device, 0, self.seq, self.prev, self.stamp, payload, deps)
        self.prev = event_id(data)
        event = decode_event(data)
        return Record(event_id(data), event, self.stamp, 0, self.origin, ms + 500)


def story() -> list[Record]:
    """Three devices and one order: drafted, sealed, edited late, answered; a customer deleted."""
    phone, office = Chain(PHONE, Origin.DEVICE), Chain(OFFICE, Origin.WEB)
    books = Chain(BOOKS, Origin.SINK)
    fields = p.CustomerFields(name="Acme Ltd")
    put = phone.add(p.OrderLinePut("o-1", "1", p.LineFields(product="p-71053", qty_e3=1_000)), 1)
    return [
        office.add(p.CustomerCreated("c-17850", fields), 0),
        put,
        phone.add(p.OrderLineRemoved("o-1", "1", (put.id,)), 2),
        phone.add(p.OrderCommitted("o-1", CONTENT), 3),
        office.add(p.OrderChanged("o-1", p.OrderFields(memo="call first")), 4),
        books.add(p.OrderEstimated("o-1", "books", "147", "1042", CONTENT.total_minor), 5),
        office.add(p.StockCounted("p-71053", 9_000), 6),
        phone.add(p.StockMoved("p-71053", -500, "breakage"), 7),
        phone.add(p.CustomerChanged("c-17850", p.CustomerFields(name="Acme Inc")), 9),
        office.add(p.CustomerDeleted("c-17850"), 8),
    ]


def stamps() -> dict[str, Any]:
    node = PHONE[8:]
    full = make_stamp(START_MS, 0xFFFF, node)
    ticks = [(ZERO_STAMP, START_MS), (make_stamp(START_MS, 3, node), START_MS - 5), (full, 0)]
    raw = make_stamp(START_MS, 1, node)
    corrections = [(0, START_MS, ZERO_STAMP), (90_000, START_MS, ZERO_STAMP)]
    corrections += [(0, START_MS - 301_000, ZERO_STAMP), (0, START_MS, full)]
    return {
        "stamps": [
            {"ms": ms, "counter": counter, "node": node.hex(), "stamp": _stamp(ms, counter, node)}
            for ms, counter in ((0, 0), (START_MS, 1), ((1 << 48) - 1, 0xFFFF))
        ],
        "ticks": [
            {"last": last.hex(), "now_ms": ms, "stamp": tick(last, ms, node).hex()}
            for last, ms in ticks
        ],
        "corrections": [
            {"raw": raw.hex(), **_corrected(raw, offset_ms, received_ms, last)}
            for offset_ms, received_ms, last in corrections
        ],
    }


def payloads() -> list[dict[str, Any]]:
    rows = []
    for payload in PAYLOADS:
        kind, version, body = encode_payload(payload)
        rows.append({"kind": kind, "version": version, "payload": body.hex()})
    return rows


def money() -> dict[str, Any]:
    lines = [(6_000, 25_500, "USD"), (1_000, 50, "USD"), (-1_000, 50, "USD"), (1_000, 49, "USD")]
    lines += [(500, 10_000, "JPY"), (1_500, 33_333, "KWD")]
    return {
        "lines": [
            {
                "qty_e3": qty_e3,
                "price_e4": price_e4,
                "currency": currency,
                "total_minor": line_total_minor(qty_e3, price_e4, currency),
            }
            for qty_e3, price_e4, currency in lines
        ],
        "content_total_minor": content_total_minor(CONTENT),
    }


def events() -> list[dict[str, Any]]:
    return [
        {
            "account": record.event.account.hex(),
            "device": record.event.device.hex(),
            "epoch": record.event.epoch,
            "seq": record.event.seq,
            "prev": record.event.prev.hex(),
            "stamp": record.event.stamp.hex(),
            "kind": record.event.kind,
            "version": record.event.version,
            "deps": [dep.hex() for dep in record.event.deps],
            "payload": record.event.payload.hex(),
            "event": _bytes_of(record).hex(),
            "id": record.id.hex(),
        }
        for record in story()
    ]


def records() -> dict[str, Any]:
    told = story()
    decided = make_stamp(START_MS - 90_000, 0, PHONE[8:])
    chains = [extend_chain(bytes(32), [record.id for record in told[:n]]) for n in (0, 1, 2)]
    return {
        "raw_stamp_stands": encode_record(_bytes_of(told[1]), None, 0).hex(),
        "corrected": encode_record(_bytes_of(told[1]), decided, 0).hex(),
        "disputed": encode_record(_bytes_of(told[1]), decided, Flag.DISPUTED).hex(),
        "tag": told[1].tag.hex(),
        "chains": [chain.hex() for chain in chains],
    }


def documents() -> dict[str, Any]:
    found: dict[DocKey, Document] = {}
    told = story()
    for record in told:
        fold(found, record)
    totals = SectionTotals()
    rows = []
    for key, document in sorted(found.items()):
        state = document.encode()
        totals.add(key, state)
        rows.append(
            {
                "type": key.type,
                "id": key.id,
                "state": state.hex(),
                "hash": document_hash(key, state).hex(),
                "view": view(document),
            }
        )
    return {
        "records": [
            {"event": _bytes_of(record).hex(), "stamp": record.stamp.hex(), "origin": record.origin}
            for record in told
        ],
        "documents": rows,
        "sections": [
            {"section": section, "count": count, "digest": digest.hex()}
            for section, count, digest in totals.sections()
        ],
    }


def _bytes_of(record: Record) -> bytes:
    return encode_event(record.event)


def _stamp(ms: int, counter: int, node: bytes) -> str:
    return make_stamp(ms, counter, node).hex()


def _corrected(raw: Stamp, offset_ms: int, received_ms: int, last: Stamp) -> dict[str, Any]:
    decided = correct(raw, offset_ms=offset_ms, received_ms=received_ms, last=last)
    return {
        "offset_ms": offset_ms,
        "received_ms": received_ms,
        "last": last.hex(),
        "stamp": decided.stamp.hex(),
        "disputed": decided.disputed,
    }


FILES = {
    "stamp.json": stamps,
    "payload.json": payloads,
    "money.json": money,
    "event.json": events,
    "record.json": records,
    "document.json": documents,
}


def text_of(name: str) -> str:
    """The content of one vector file."""
    return json.dumps(FILES[name](), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file_name in FILES:
        (FOLDER / file_name).write_text(text_of(file_name), encoding="utf-8")
