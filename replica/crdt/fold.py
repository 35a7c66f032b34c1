"""The fold: records in, documents out. Pure, idempotent, and blind to the order of arrival.

    fold(fold(d, a), b) == fold(fold(d, b), a)      fold(fold(d, a), a) == fold(d, a)

Each event concerns exactly one document. Events of a kind or version that is unknown here touch
nothing; they are in the log and count after an upgrade (architecture.md §4). Events that were
stored unread and turn out to break their kind's rules, or to come from an origin that may not say
such a thing, touch nothing either: the door would have refused them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from operator import attrgetter

from replica.crdt.documents import DocKey, Document, Fact
from replica.crdt.retention import thin
from replica.errors import PeerError
from replica.events import payloads as p
from replica.events.event import Event
from replica.events.kinds import REGISTRY, Registry
from replica.events.payloads import Payload
from replica.events.record import Record

_KEPT_DEPS = frozenset({"order.committed", "order.amended"})
"""Kinds whose direct causes a rule reads (:mod:`replica.crdt.order`)."""

_TARGETS = {
    p.CustomerCreated: ("customer", "customer"),
    p.CustomerChanged: ("customer", "customer"),
    p.CustomerDeleted: ("customer", "customer"),
    p.CustomerRestored: ("customer", "customer"),
    p.CustomerLinked: ("customer", "customer"),
    p.CustomerFollowed: ("customer", "customer"),
    p.ProductCreated: ("product", "product"),
    p.ProductChanged: ("product", "product"),
    p.ProductDeleted: ("product", "product"),
    p.ProductRestored: ("product", "product"),
    p.ProductLinked: ("product", "product"),
    p.ProductFollowed: ("product", "product"),
    p.ClassCreated: ("class", "class_"),
    p.ClassChanged: ("class", "class_"),
    p.ClassDeleted: ("class", "class_"),
    p.ClassRestored: ("class", "class_"),
    p.ClassLinked: ("class", "class_"),
    p.DepartmentCreated: ("department", "department"),
    p.DepartmentChanged: ("department", "department"),
    p.DepartmentDeleted: ("department", "department"),
    p.DepartmentRestored: ("department", "department"),
    p.DepartmentLinked: ("department", "department"),
    p.StockCounted: ("stock", "product"),
    p.StockMoved: ("stock", "product"),
    p.OrderDrafted: ("order", "order"),
    p.OrderChanged: ("order", "order"),
    p.OrderLinePut: ("order", "order"),
    p.OrderLineRemoved: ("order", "order"),
    p.OrderCommitted: ("order", "order"),
    p.OrderAmended: ("order", "order"),
    p.OrderCancelled: ("order", "order"),
    p.OrderCorrected: ("order", "order"),
    p.OrderEstimated: ("order", "order"),
    p.OrderParked: ("order", "order"),
    p.OrderFollowed: ("order", "order"),
    p.QuoteCommitted: ("quote", "quote"),
    p.QuoteWithdrawn: ("quote", "quote"),
    p.QuoteCorrected: ("quote", "quote"),
    p.QuoteEstimated: ("quote", "quote"),
    p.QuoteParked: ("quote", "quote"),
    p.QuoteFollowed: ("quote", "quote"),
    p.ReturnCommitted: ("return", "return_"),
    p.PaymentRecorded: ("payment", "payment"),
    p.DeviceEnrolled: ("device", "device"),
    p.DeviceRevoked: ("device", "device"),
    p.DeviceScoped: ("device", "device"),
    p.SyncFinished: ("sync", "run"),
    p.TwinFound: ("twin", "twin"),
    p.TwinDecided: ("twin", "twin"),
}
_id_of = {struct: (kind, attrgetter(name)) for struct, (kind, name) in _TARGETS.items()}


def document_key(payload: Payload) -> DocKey:
    """The one document that ``payload`` concerns."""
    if isinstance(payload, p.NoteEdited):
        return note_key(payload.about_type, payload.about)
    document_type, read = _id_of[type(payload)]
    return DocKey(document_type, read(payload))


def about(event: Event, registry: Registry = REGISTRY) -> DocKey | None:
    """The one document that ``event`` means, whether or not it keeps its kind's rules; None when
    that cannot be told."""
    payload = registry.peek(event)
    return None if payload is None else document_key(payload)


def note_key(about_type: str, about: str) -> DocKey:
    """The note of a document: ``order:o-1``. No type holds a colon, so no two notes share a key."""
    return DocKey("note", f"{about_type}:{about}")


def touched(event: Event, registry: Registry = REGISTRY) -> tuple[DocKey, ...]:
    """Keys of the documents to load before ``event`` is folded; none for what nobody can read, or
    what breaks the rules of its kind: nobody builds on that. :func:`about` costs less where a key
    too many does no harm."""
    payload = _read(event, registry)
    return () if payload is None else (document_key(payload),)


def fold(
    documents: MutableMapping[DocKey, Document], record: Record, registry: Registry = REGISTRY
) -> tuple[DocKey, ...]:
    """Fold ``record`` into ``documents`` and return the keys of those that changed.

    ``documents`` must hold what is stored of every key that :func:`touched` names; a document that
    is missing is made. Never raises for anything a log may hold. The caller's next duty: store
    the changed documents and the position in one transaction.
    """
    kind = record.event.kind
    payload = _read(record.event, registry)
    if payload is None or record.origin not in registry.newest[kind].origins:
        return ()
    key = document_key(payload)
    fact = Fact(
        record.tag,
        int(record.origin),
        _body(record.event, payload, registry),
        record.event.deps if kind in _KEPT_DEPS else (),
    )
    document = documents.get(key)
    if document is None:
        document = Document(key)
        document.insert(kind, fact)
        documents[key] = document
        return (key,)
    if not document.insert(kind, fact):
        return ()
    thin(document, kind, registry)
    # A fact that was dropped at once left the document as it was.
    return (key,) if document.holds(kind, fact) else ()


def _read(event: Event, registry: Registry) -> Payload | None:
    try:
        return registry.decode(event)
    except PeerError:
        return None


def _body(event: Event, payload: Payload, registry: Registry) -> bytes:
    """Payload bytes of the newest version: the author's own unless an upcaster changed them."""
    if event.version == registry.newest[event.kind].version:
        return event.payload
    return registry.encode(payload)[2]
