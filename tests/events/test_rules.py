"""Rules of payloads: what the door refuses, each with a reason that names the field."""

from __future__ import annotations

import msgspec
import pytest

from replica.errors import Malformed
from replica.events import payloads as p
from replica.events.kinds import decode_payload, encode_payload
from replica.limits import (
    NAME_CHARS_MAX,
    NOTE_UPDATE_BYTES_MAX,
    NUMBER_CHARS_MAX,
    ORDER_LINES_MAX,
    REPORT_ENTRIES_MAX,
    SAFE_INTEGER_MAX,
    SEEN_PUTS_MAX,
    TEXT_CHARS_MAX,
)
from tests.crdt.samples import Writer, content

_PAID = p.PaymentRecorded("m1", "o1", "c1", "cash", 5, "USD")
_RUN = p.SyncFinished("r1", 5, 5, 0, 0, True, {})
_BACK = ("l1", "p1", -1_000, 50_000)


def decoded(payload: p.Payload) -> p.Payload | None:
    kind, version, body = encode_payload(payload)
    template = Writer(1).says(p.CustomerDeleted("c1"), 1).event
    return decode_payload(
        msgspec.structs.replace(template, kind=kind, version=version, payload=body)
    )


def _without_lines() -> p.Content:
    return msgspec.structs.replace(content(), lines=(), total_minor=0)


def _report(entries: int) -> dict[str, str]:
    return {f"section{number}": "equal" for number in range(entries)}


def order(**fields: object) -> p.OrderCommitted:
    return p.OrderCommitted("o1", content(**fields))


def customer(**fields: object) -> p.CustomerCreated:
    return p.CustomerCreated("c1", msgspec.structs.replace(p.CustomerFields(), **fields))


def lines(count: int, **fields: object) -> p.OrderCommitted:
    return p.OrderCommitted(
        "o1", content(*[(f"l{number}", "p1", 1_000, 1) for number in range(count)], **fields)
    )


@pytest.mark.parametrize(
    "payload",
    [
        order(number="", memo="x" * TEXT_CHARS_MAX, delivery_date="2028-02-29"),
        order(number="x" * NUMBER_CHARS_MAX, note="two\nlines\tand a tab"),
        order(signature="ab" * 32, currency="KWD", offline=True),
        lines(ORDER_LINES_MAX),
        p.OrderCommitted("o1", content(("l1", "p1", 1, -5), ("l2", "p1", 1_000, 0))),
        p.ReturnCommitted("r1", content(_BACK)),
        customer(name="ü" * NAME_CHARS_MAX, status="prospect", currency=None),
        customer(name='<script>alert("x")</script>'),
        msgspec.structs.replace(_PAID, order=""),
        p.StockMoved("p1", -SAFE_INTEGER_MAX),
    ],
    ids=lambda payload: type(payload).__name__,
)
def test_what_is_allowed_is_accepted(payload: p.Payload) -> None:
    """Values at their bounds, and text of any script or markup, are taken as they are (I-26)."""
    assert decoded(payload) == payload


@pytest.mark.parametrize(
    ("field", "payload"),
    [
        ("order", p.OrderCancelled("")),
        ("order", p.OrderCancelled("x" * 65)),
        ("order", p.OrderCancelled("o 1")),
        ("order", p.OrderCancelled("o1\n")),
        ("order", p.OrderCancelled("größe")),
        ("reason", p.OrderCancelled("o1", "x" * (TEXT_CHARS_MAX + 1))),
        ("reason", p.OrderCancelled("o1", "a\0b")),
        ("name", customer(name="x" * (NAME_CHARS_MAX + 1))),
        ("name", customer(name="two\nlines")),
        ("status", customer(status="friend")),
        ("currency", customer(currency="usd")),
        ("currency", customer(currency="EURO")),
        ("fields", p.CustomerChanged("c1", p.CustomerFields())),
        ("fields", p.ProductChanged("p1", p.ProductFields())),
        ("date", order(date="2026-02-30")),
        ("date", order(date="2026-2-3")),
        ("date", order(date="")),
        ("delivery_date", order(delivery_date="tomorrow")),
        ("date", p.OrderChanged("o1", p.OrderFields(date="2026-13-01"))),
        ("number", order(number="x" * (NUMBER_CHARS_MAX + 1))),
        ("signature", order(signature="no hash")),
        ("discount_minor", order(discount_minor=-1)),
        ("total_minor", p.OrderCommitted("o1", msgspec.structs.replace(content(), total_minor=1))),
        ("total_minor", order(shipping_minor=SAFE_INTEGER_MAX)),
        ("lines", msgspec.structs.replace(order(), content=_without_lines())),
        ("lines", lines(ORDER_LINES_MAX + 1)),
        ("lines", p.OrderCommitted("o1", content(("l1", "p1", 1, 1), ("l1", "p2", 1, 1)))),
        ("order", p.OrderCommitted("o 1", content())),
        ("order", p.OrderCommitted("o1\n", content())),
        ("order", p.OrderCommitted("", content())),
        ("order", p.OrderAmended("größe", content())),
        ("quote", p.QuoteCommitted("q\n1", content())),
        ("return", p.ReturnCommitted("r 1", content(_BACK))),
        ("lines", p.OrderCommitted("o1", content(("l 1", "p1", 1, 1)))),
        ("lines", p.OrderCommitted("o1", content(("l1", "p1\n", 1, 1)))),
        ("lines", p.OrderCommitted("o1", content(("l1", "pä", 1, 1)))),
        ("lines", p.OrderCommitted("o1", content(("", "p1", 1, 1)))),
        ("lines", p.OrderCommitted("o1", content(("l1", "p1", 0, 1)))),
        ("lines", p.OrderAmended("o1", content(_BACK))),
        ("lines", p.QuoteCommitted("q1", content(_BACK))),
        ("lines", p.ReturnCommitted("r1", content())),
        ("total_minor", p.ReturnCommitted("r1", content(_BACK, shipping_minor=501))),
        ("order", msgspec.structs.replace(_PAID, order="", customer="")),
        ("amount_minor", msgspec.structs.replace(_PAID, amount_minor=SAFE_INTEGER_MAX + 1)),
        ("finished_ms", msgspec.structs.replace(_RUN, finished_ms=4)),
        ("started_ms", msgspec.structs.replace(_RUN, started_ms=-1)),
        ("report", msgspec.structs.replace(_RUN, report=_report(REPORT_ENTRIES_MAX + 1))),
        ("device", p.DeviceRevoked("AB" * 16)),
        ("device", p.DeviceRevoked("ab" * 15)),
        ("update", p.NoteEdited("order", "o1", b"")),
        ("update", p.NoteEdited("order", "o1", bytes(NOTE_UPDATE_BYTES_MAX + 1))),
        ("seen", p.OrderLineRemoved("o1", "l1", (bytes(31),))),
        ("seen", p.OrderLineRemoved("o1", "l1", (bytes(32),) * (SEEN_PUTS_MAX + 1))),
        ("qty_e3", p.OrderLinePut("o1", "l1", p.LineFields(qty_e3=-1))),
    ],
)
def test_what_is_not_allowed_is_refused_by_field(field: str, payload: p.Payload) -> None:
    """A payload that breaks a rule is malformed, and the message names the field (I-19, I-27)."""
    with pytest.raises(Malformed, match=field):
        decoded(payload)


def test_a_text_of_a_line_holds_no_nul() -> None:
    """NUL cannot be stored by every database, so no event carries it (I-13)."""
    line = p.SealedLine("l1", "p1", 1_000, 1, "a\0b")
    with pytest.raises(Malformed, match="NUL"):
        decoded(p.OrderCommitted("o1", msgspec.structs.replace(content(), lines=(line,))))
