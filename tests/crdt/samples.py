"""Devices that write, and random records over every kind of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from hypothesis import strategies as st

from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.crdt.text import note_update
from replica.crdt.view import View, view
from replica.events import payloads as p
from replica.events.clock import make_stamp
from replica.events.event import GENESIS, decode_event, event_id
from replica.events.kinds import CATALOGUE, build_event
from replica.events.money import content_total_minor
from replica.events.record import Origin, Record

ACCOUNT = bytes(16)
Documents = dict[DocKey, Document]


class Writer:
    """A device with a chain of its own; ``ms`` is the merge time of each record."""

    def __init__(self, number: int, origin: Origin = Origin.DEVICE) -> None:
        self.device = bytes(15) + bytes([number])
        self.origin = origin
        self._seq = 0
        self._prev: bytes = GENESIS

    def says(self, payload: p.Payload, ms: int, deps: Sequence[bytes] = ()) -> Record:
        self._seq += 1
        stamp = make_stamp(ms, 0, self.device[8:])
        data = build_event(ACCOUNT, self.device, 0, self._seq, self._prev, stamp, payload, deps)
        identity = event_id(data)
        self._prev = identity
        return Record(identity, decode_event(data), stamp, 0, self.origin, ms)


def folded(records: Iterable[Record]) -> Documents:
    documents: Documents = {}
    for record in records:
        fold(documents, record)
    return documents


def states(documents: Documents) -> dict[DocKey, bytes]:
    return {key: document.encode() for key, document in documents.items()}


def seen(records: Iterable[Record], document_type: str, identity: str) -> View:
    """The view of one document after folding ``records``."""
    return view(folded(records)[DocKey(document_type, identity)])


def content(*lines: tuple[str, str, int, int], **fields: object) -> p.Content:
    """A content whose total is right. Lines are (id, product, qty_e3, price_e4)."""
    sealed = tuple(p.SealedLine(*line) for line in lines or [("l1", "p1", 1_000, 50_000)])
    made = p.Content("1", "c1", "USD", "2026-03-01", 0, sealed)
    made = msgspec.structs.replace(made, **fields)
    return msgspec.structs.replace(made, total_minor=content_total_minor(made))


# Random payloads: few ids and few values, so that records meet in the same documents and fields.
_id = st.sampled_from(["a", "b"])
_text = st.sampled_from(["", "x", "ü — 漢"])
_maybe_text = st.sampled_from([msgspec.UNSET, None, "x", "y"])
_maybe_parent = st.sampled_from([msgspec.UNSET, None, "a"])
_number = st.integers(-5_000, 5_000)
_system = st.sampled_from(["books", "other"])
_hash = st.binary(min_size=32, max_size=32)
_currency = st.sampled_from(["USD", "JPY", "KWD"])
_device = st.sampled_from(["00" * 16, "01" * 16])


@st.composite
def _contents(draw: st.DrawFn, sign: int) -> p.Content:
    quantity = st.integers(1, 5_000).map(lambda value: sign * value)
    row = st.tuples(_id, st.sampled_from(["p1", "p2"]), quantity, st.integers(0, 90_000))
    lines = draw(st.lists(row, min_size=1, max_size=3, unique_by=lambda line: line[0]))
    return content(*lines, currency=draw(_currency), memo=draw(_text))


@st.composite
def _updates(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        return draw(st.binary(min_size=1, max_size=20))
    first = note_update([], "hello", 7) or b""
    return note_update([first], draw(st.sampled_from(["hell", "hello you", "oh hello"])), 9) or b""


@st.composite
def _corrections(draw: st.DrawFn, kind: str) -> p.Payload:
    fields: list[p.CorrectedField] = ["number", "customer", "product"]
    field = draw(st.sampled_from(fields))
    was, other = {"number": ("1", "1-2"), "customer": ("c1", "a"), "product": ("p1", "p2")}[field]
    struct = p.OrderCorrected if kind == "order" else p.QuoteCorrected
    return struct(draw(_id), field, was, draw(st.sampled_from([was, other])))


_customer_fields = st.builds(p.CustomerFields, name=_maybe_text, email=_maybe_text)
_product_fields = st.builds(p.ProductFields, name=_maybe_text, price_e4=_number)
_label_fields = st.builds(p.LabelFields, name=st.none() | _text, parent=_maybe_parent)
_order_fields = st.builds(p.OrderFields, memo=_maybe_text, po_number=_maybe_text)
_line_fields = st.builds(p.LineFields, text=_maybe_text, qty_e3=st.integers(0, 9_000))
_named = {"system": _system, "external_id": _text}
_estimated = {**_named, "number": _text, "total_minor": _number}
_parked = {"system": _system, "code": _id, "cause": _text, "fix": _text}
_followed = {"system": _system, "cause": _text, "fix": _text}
_of_name = {"state": st.sampled_from(["standing", "inactive", "merged"]), **_followed}
_of_sale = {"state": st.sampled_from(["standing", "deleted", "invoiced"]), **_followed}
_sale = _contents(1)

PAYLOADS: dict[str, st.SearchStrategy[p.Payload]] = {
    "customer.created": st.builds(p.CustomerCreated, customer=_id, fields=_customer_fields),
    "customer.changed": st.builds(
        p.CustomerChanged, customer=_id, fields=st.builds(p.CustomerFields, name=st.none() | _text)
    ),
    "customer.deleted": st.builds(p.CustomerDeleted, customer=_id),
    "customer.restored": st.builds(p.CustomerRestored, customer=_id),
    "customer.linked": st.builds(p.CustomerLinked, customer=_id, **_named),
    "customer.followed": st.builds(p.CustomerFollowed, customer=_id, **_of_name),
    "product.created": st.builds(p.ProductCreated, product=_id, fields=_product_fields),
    "product.changed": st.builds(p.ProductChanged, product=_id, fields=_product_fields),
    "product.deleted": st.builds(p.ProductDeleted, product=_id),
    "product.restored": st.builds(p.ProductRestored, product=_id),
    "product.linked": st.builds(p.ProductLinked, product=_id, **_named),
    "product.followed": st.builds(p.ProductFollowed, product=_id, **_of_name),
    "class.created": st.builds(p.ClassCreated, class_=_id, fields=_label_fields),
    "class.changed": st.builds(p.ClassChanged, class_=_id, fields=_label_fields),
    "class.deleted": st.builds(p.ClassDeleted, class_=_id),
    "class.restored": st.builds(p.ClassRestored, class_=_id),
    "class.linked": st.builds(p.ClassLinked, class_=_id, **_named),
    "department.created": st.builds(p.DepartmentCreated, department=_id, fields=_label_fields),
    "department.changed": st.builds(p.DepartmentChanged, department=_id, fields=_label_fields),
    "department.deleted": st.builds(p.DepartmentDeleted, department=_id),
    "department.restored": st.builds(p.DepartmentRestored, department=_id),
    "department.linked": st.builds(p.DepartmentLinked, department=_id, **_named),
    "stock.counted": st.builds(p.StockCounted, product=_id, qty_e3=_number),
    "stock.moved": st.builds(p.StockMoved, product=_id, qty_e3=_number, reason=_text),
    "order.drafted": st.builds(p.OrderDrafted, order=_id, fields=_order_fields),
    "order.changed": st.builds(p.OrderChanged, order=_id, fields=_order_fields),
    "order.line_put": st.builds(p.OrderLinePut, order=_id, line=_id, fields=_line_fields),
    "order.line_removed": st.builds(
        p.OrderLineRemoved, order=_id, line=_id, seen=st.tuples() | st.tuples(_hash)
    ),
    "order.committed": st.builds(p.OrderCommitted, order=_id, content=_sale),
    "order.amended": st.builds(p.OrderAmended, order=_id, content=_sale),
    "order.cancelled": st.builds(p.OrderCancelled, order=_id, reason=_text),
    "order.corrected": _corrections("order"),
    "order.estimated": st.builds(p.OrderEstimated, order=_id, **_estimated),
    "order.parked": st.builds(p.OrderParked, order=_id, **_parked),
    "order.followed": st.builds(p.OrderFollowed, order=_id, document=_text, **_of_sale),
    "quote.committed": st.builds(p.QuoteCommitted, quote=_id, content=_sale),
    "quote.withdrawn": st.builds(p.QuoteWithdrawn, quote=_id, reason=_text),
    "quote.corrected": _corrections("quote"),
    "quote.estimated": st.builds(p.QuoteEstimated, quote=_id, **_estimated),
    "quote.parked": st.builds(p.QuoteParked, quote=_id, **_parked),
    "quote.followed": st.builds(p.QuoteFollowed, quote=_id, number=_text, **_of_sale),
    "return.committed": st.builds(p.ReturnCommitted, return_=_id, content=_contents(-1)),
    "payment.recorded": st.builds(
        p.PaymentRecorded,
        payment=_id,
        order=_id,
        customer=_id,
        method=_text,
        amount_minor=_number,
        currency=_currency,
    ),
    "note.edited": st.builds(
        p.NoteEdited, about_type=st.just("order"), about=_id, update=_updates()
    ),
    "device.enrolled": st.builds(p.DeviceEnrolled, device=_device, name=_text, user=_text),
    "device.revoked": st.builds(p.DeviceRevoked, device=_device),
    "device.scoped": st.builds(
        p.DeviceScoped,
        device=_device,
        version=st.integers(1, 3),
        customers=st.none() | st.just(()) | st.tuples(_id),
        orders=st.sampled_from(["own", "team"]),
    ),
    "twin.found": st.builds(
        p.TwinFound,
        twin=_id,
        of=st.just("product"),
        first=st.just("a"),
        second=st.sampled_from(["b", "c"]),
        field=st.sampled_from(["name", "sku"]),
    ),
    "twin.decided": st.sampled_from(
        [("ask", ""), ("apart", ""), ("same", "a"), ("same", "b"), ("same", "nobody")]
    ).flatmap(
        lambda said: st.builds(
            p.TwinDecided, twin=_id, choice=st.just(said[0]), stays=st.just(said[1])
        )
    ),
    "sync.finished": st.builds(
        p.SyncFinished,
        run=_id,
        started_ms=st.just(1),
        finished_ms=st.integers(1, 5),
        pushed=st.just(0),
        pulled=st.just(0),
        equal=st.booleans(),
        report=st.dictionaries(_id, _text),
    ),
}


@st.composite
def record_sets(
    draw: st.DrawFn, kinds: Sequence[str] = tuple(PAYLOADS), size_min: int = 0, size_max: int = 30
) -> list[Record]:
    """Records of ``kinds`` by several writers; stamps clash often.

    Removals name puts that were drawn before them, so that they meet in both orders.
    """
    made: list[Record] = []
    writers: dict[tuple[int, Origin], Writer] = {}
    for name in draw(st.lists(st.sampled_from(kinds), min_size=size_min, max_size=size_max)):
        payload = draw(PAYLOADS[name])
        if isinstance(payload, p.OrderLineRemoved) and made:
            named = draw(st.lists(st.sampled_from([record.id for record in made]), max_size=3))
            payload = msgspec.structs.replace(payload, seen=tuple(named))
        allowed = sorted(CATALOGUE[name, 1].origins)
        number, origin = draw(st.integers(1, 2)), draw(st.sampled_from(allowed))
        writer = writers.setdefault((number, origin), Writer(number * 10 + origin, origin))
        deps = draw(st.lists(st.sampled_from(made), max_size=2)) if made else []
        made.append(writer.says(payload, draw(st.integers(0, 3)), [dep.id for dep in deps]))
    return made
