"""Freezes one event of every kind and version, for ever.

Run ``python -m tests.golden.freeze`` after a kind or a version was added: it writes the files that
are missing and touches no event that is there, because a released version is never edited. When
``MERGE_RULES_VERSION`` was raised, it writes the digests of the old events anew; the events stay.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from replica.crdt.digest import document_hash
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.crdt.text import note_update
from replica.events import payloads as p
from replica.events.clock import Stamp, make_stamp
from replica.events.event import EVENT_FORMAT, GENESIS, Event, decode_event, encode_event, event_id
from replica.events.kinds import MERGE_RULES_VERSION, REGISTRY, Kind, encode_payload
from replica.events.record import Record

FOLDER = Path(__file__).parent
ACCOUNT = bytes.fromhex("a0" * 16)
START_MS = 1_772_366_400_000  # 2026-03-01T12:00:00Z
ADDRESS = p.Address("1 High Street", "", "Graz", "Styria", "8010", "AT")
CONTENT = p.Content(
    number="7QWMZ3-0042",
    customer="c-17850",
    currency="USD",
    date="2026-03-01",
    total_minor=2_540,
    lines=(
        p.SealedLine("1", "p-85123A", 6_000, 25_500, "Heart holder"),
        p.SealedLine("2", "p-71053", 1_500, 33_900),
    ),
    delivery_date="2026-03-05",
    delivery_address=ADDRESS,
    memo="ring twice — 漢",
    shipping_minor=501,
    offline=True,
)
RETURN = p.Content(
    "R-1", "c-17850", "JPY", "2026-03-02", -250, (p.SealedLine("1", "p-1", -1_000, 2_500_000),)
)
ORDER_FIELDS = p.OrderFields(customer="c-17850", currency="USD", memo=None, class_="north")

PAYLOADS: tuple[p.Payload, ...] = (
    p.CustomerCreated(
        "c-17850",
        p.CustomerFields(name="Acme Ltd", status="prospect", address=ADDRESS, tax_exempt=False),
    ),
    p.CustomerChanged("c-17850", p.CustomerFields(name="Acme — 漢", email=None)),
    p.CustomerDeleted("c-17850"),
    p.CustomerRestored("c-17850"),
    p.CustomerLinked("c-17850", "qbo", "58"),
    p.CustomerFollowed("c-17850", "qbo", "merged", "Merged into Acme Inc.", "Nothing to do."),
    p.ProductCreated("p-85123A", p.ProductFields(name="Heart holder", sku="85123A")),
    p.ProductChanged("p-85123A", p.ProductFields(price_e4=25_500, taxable=True, unit=None)),
    p.ProductDeleted("p-85123A"),
    p.ProductRestored("p-85123A"),
    p.ProductLinked("p-85123A", "qbo", "12"),
    p.ProductFollowed("p-85123A", "qbo", "inactive", "Made inactive.", "Make it active."),
    p.ClassCreated("k-1", p.LabelFields(name="Retail")),
    p.ClassChanged("k-1", p.LabelFields(name="Retail — 漢", parent="k-0")),
    p.ClassDeleted("k-1"),
    p.ClassRestored("k-1"),
    p.ClassLinked("k-1", "qbo", "5000000000000000123"),
    p.DepartmentCreated("d-1", p.LabelFields(name="Main Store", parent=None)),
    p.DepartmentChanged("d-1", p.LabelFields(name="High Street")),
    p.DepartmentDeleted("d-1"),
    p.DepartmentRestored("d-1"),
    p.DepartmentLinked("d-1", "qbo", "7"),
    p.StockCounted("p-85123A", 40_000),
    p.StockMoved("p-85123A", -2_500, "breakage"),
    p.OrderDrafted("o-1", ORDER_FIELDS),
    p.OrderChanged("o-1", p.OrderFields(delivery_date="2026-03-05", discount_minor=100)),
    p.OrderLinePut("o-1", "1", p.LineFields(product="p-85123A", qty_e3=6_000, text=None)),
    p.OrderLineRemoved("o-1", "1", (bytes(range(32)),)),
    p.OrderCommitted("o-1", CONTENT),
    p.OrderAmended("o-1", CONTENT),
    p.OrderCancelled("o-1", "the customer called"),
    p.OrderCorrected("o-1", "number", "7QWMZ3-0042", "7QWMZ3-0042-2"),
    p.OrderEstimated("o-1", "qbo", "147", "1042", 2_540),
    p.OrderParked("o-1", "qbo", "6210", "The books are closed.", "Open the period."),
    p.OrderFollowed("o-1", "qbo", "invoiced", "Converted.", "", "151", "1077"),
    p.QuoteCommitted("q-1", CONTENT),
    p.QuoteWithdrawn("q-1", "too late"),
    p.QuoteCorrected("q-1", "customer", "c-17850", "c-2"),
    p.QuoteEstimated("q-1", "qbo", "148", "1043", 2_540),
    p.QuoteParked("q-1", "qbo", "6210", "The books are closed.", "Open the period."),
    p.QuoteFollowed("q-1", "qbo", "deleted", "Deleted in QuickBooks.", "Send it again."),
    p.ReturnCommitted("r-1", RETURN),
    p.PaymentRecorded("m-1", "o-1", "c-17850", "cash", 2_540, "USD"),
    p.NoteEdited("order", "o-1", note_update([], "hi — 漢", 7) or b""),
    p.DeviceEnrolled("0102030405060708090a0b0c0d0e0f10", "Ana's phone", "ana"),
    p.DeviceRevoked("0102030405060708090a0b0c0d0e0f10"),
    p.DeviceScoped(
        "0102030405060708090a0b0c0d0e0f10",
        3,
        customers=("c-17850", "c-2"),
        products=(),
        orders="own",
        until_ms=1_772_452_800_000,
        without=("c-9",),
        leaving={"c-2": "00" * 16},
    ),
    p.TwinFound("0f" * 16, "product", "p-71053", "p-85123A", "sku"),
    p.TwinDecided("0f" * 16, "same", "p-85123A"),
    p.SyncFinished("s-1", START_MS, START_MS + 900, 3, 4, True, {"order": "equal"}),
)
"""An example of the newest version of every kind."""


def file_of(kind: Kind) -> Path:
    """``order.committed-1.json``"""
    return FOLDER / f"{kind.name}-{kind.version}.json"


def record_of(row: dict[str, Any]) -> Record:
    """The record that a frozen row stands for."""
    data = bytes.fromhex(row["event"])
    event = decode_event(data)
    return Record(event_id(data), event, Stamp(event.stamp), 0, row["origin"], row["received_ms"])


def folded(row: dict[str, Any]) -> dict[str, Any]:
    """What the fold makes of a frozen event: its one document and the hash of that."""
    documents: dict[DocKey, Document] = {}
    (key,) = fold(documents, record_of(row))
    return {
        "document": list(key),
        "merge_rules": MERGE_RULES_VERSION,
        "hash": document_hash(key, documents[key].encode()).hex(),
    }


def frozen(payload: p.Payload) -> dict[str, Any]:
    """The canonical event that says ``payload``, by the least of those who may say it."""
    name, version, body = encode_payload(payload)
    origin = min(REGISTRY.kinds[name, version].origins)
    device = bytes([int(origin)]) * 16
    event = Event(
        EVENT_FORMAT,
        ACCOUNT,
        device,
        1,
        1,
        GENESIS,
        make_stamp(START_MS, 0, device[8:]),
        name,
        version,
        (),
        body,
    )
    data = encode_event(event)
    row = {"event": data.hex(), "origin": int(origin), "received_ms": START_MS + 1_000}
    return {"kind": name, "version": version, "id": event_id(data).hex(), **row, **folded(row)}


def freeze() -> None:
    """Write what is missing, and digests that older merge rules made."""
    for payload in PAYLOADS:
        path = file_of(REGISTRY.kinds[encode_payload(payload)[:2]])
        if not path.exists():
            _write(path, frozen(payload))
    for path in FOLDER.glob("*.json"):
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["merge_rules"] != MERGE_RULES_VERSION:
            _write(path, row | folded(row))


def _write(path: Path, row: dict[str, Any]) -> None:
    path.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    freeze()
