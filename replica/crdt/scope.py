"""Scope: which documents of its account a device holds (CFG-01 to CFG-07). Pure.

Membership is a function of the scope, of a document's *facet*, and of where the document stands
that it belongs to: a line of stock with its product, an order with its customer, a payment with its
order. What a device wrote itself stays with it, unless the customer was given to somebody else.
Deleted customers and products stay members, so that whoever holds them learns of the delete.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from functools import cached_property
from typing import NamedTuple

import msgspec

from replica.crdt.corrected import corrections
from replica.crdt.documents import DocKey, Document, tag_node
from replica.crdt.registers import read
from replica.crdt.stock import SOLD
from replica.events.payloads import DeviceScoped
from replica.events.record import Origin

NODE_BYTES = 8
# Whose content counts: the newest amendment or offer, the first seal (replica.crdt.order).
_SEALED = {
    "order": (("order.amended", -1), ("order.committed", 0)),
    "quote": (("quote.committed", -1),),
    "return": (("return.committed", 0),),
}
_CREATED = {"customer": "customer.created", "product": "product.created"}


class Place(IntEnum):
    """Where a document stands for a device."""

    OUT = 0
    IN = 1
    BARRED = 2  # about a customer that the device serves no more: own work leaves too


class Facet(NamedTuple):
    """What membership asks of a document.

    ``about`` is "type:id" of the document it belongs to, "" for none, two with a blank between
    them of a pair; of a customer it is his status. ``authors`` are the nodes of the devices it
    belongs to as their own work, in order.
    """

    about: str = ""
    authors: bytes = b""

    @property
    def abouts(self) -> list[str]:
        """Every "type:id" of ``about``."""
        return self.about.split()

    def by(self, node: bytes) -> bool:
        """Whether the device of ``node`` is an author."""
        places = range(0, len(self.authors), NODE_BYTES)
        return any(self.authors[at : at + NODE_BYTES] == node for at in places)


Parent = Callable[[DocKey], Place | None]
"""Where a document stands that another one belongs to; None when there is no such document."""


class Scope:
    """A scope ready to be asked. Make one for each version."""

    def __init__(self, granted: DeviceScoped) -> None:
        self.granted = granted
        self._device = granted.device
        self._node = bytes.fromhex(granted.device)[-NODE_BYTES:]
        self._chosen = frozenset((*(granted.customers or ()), *(granted.prospects or ())))
        self._products = None if granted.products is None else frozenset(granted.products)
        self._without = frozenset(granted.without)

    @cached_property
    def everything(self) -> bool:
        """Whether the device holds what there is, as one without a scope does."""
        granted = self.granted
        chosen = (granted.customers, granted.prospects, granted.products)
        return (
            chosen == (None, None, None)
            and granted.orders == "team"
            and not granted.without
            and not granted.leaving
        )

    def place(self, key: DocKey, facet: Facet, parent: Parent) -> Place:
        """Where the document of ``key`` stands."""
        if self.everything:
            return Place(key.type != SOLD)  # whoever holds all sales needs no sum of them
        own = facet.by(self._node)
        match key.type:
            case "customer":
                return self._customer(key.id, own=own, prospect=facet.about == "prospect")
            case "product":
                return self._product(key.id, own=own)
            case "class" | "department":
                return Place.IN
            case "device":
                return Place(key.id == self._device)
            case "sync":
                return Place.OUT  # names devices and documents of everybody
            case "twin":
                return self._pair(facet, parent)
        return self._belonging(key.type, facet, own, parent)

    def _belonging(self, type_: str, facet: Facet, own: bool, parent: Parent) -> Place:
        """An order, quote, return, payment, note, stock or what was sold: with what it is about."""
        kind, _, identity = facet.about.partition(":")
        if kind:
            key = DocKey(kind, identity)
            found = parent(key)
            place = self._unknown(key) if found is None else found
        else:
            place = Place(not self._selects_customers)
        if place is Place.BARRED or own:
            return Place.BARRED if place is Place.BARRED else Place.IN
        if kind in {"customer", ""} and type_ != "note" and self.granted.orders == "own":
            return Place.OUT
        return place

    def _pair(self, facet: Facet, parent: Parent) -> Place:
        """Whoever holds one of two records has to know of the other."""
        places = set()
        for about in facet.abouts:
            key = DocKey(*about.split(":", 1))
            found = parent(key)
            places.add(self._unknown(key) if found is None else found)
        return Place(Place.IN in places)

    def _unknown(self, key: DocKey) -> Place:
        """Of a document that nobody has seen: by its id alone."""
        if key.type == "customer":
            return self._customer(key.id, own=False, prospect=False)
        if key.type == "product":
            return self._product(key.id, own=False)
        return Place.OUT

    def _customer(self, identity: str, *, own: bool, prospect: bool) -> Place:
        if identity in self._without:
            return Place.BARRED
        every = (self.granted.prospects if prospect else self.granted.customers) is None
        return Place(every or own or identity in self._chosen)

    def _product(self, identity: str, *, own: bool) -> Place:
        return Place(own or self._products is None or identity in self._products)

    @property
    def _selects_customers(self) -> bool:
        return self.granted.customers is not None or self.granted.prospects is not None


# Facets ------------------------------------------------------------------------------------------


class _Customer(msgspec.Struct):
    customer: str


class _Sale(msgspec.Struct):
    content: _Customer


_decode_sale = msgspec.msgpack.Decoder(_Sale).decode  # skips all the rest of a content


def facet(document: Document) -> Facet:
    """The facet of ``document``; a function of its state."""
    kind = document.key.type
    if kind in _CREATED:
        return Facet(_status(document), _authors(document, _CREATED[kind]))
    if kind == "stock":
        return Facet(f"product:{document.key.id}")
    if kind == "note":
        return Facet(document.key.id)
    if kind == "twin":
        for _, _, found in read(document, "twin.found"):
            return Facet(f"{found.of}:{found.first} {found.of}:{found.second}")
    if kind in {"order", "quote", "return", "payment"}:
        return Facet(_about(document), _authors(document, *document.facts))
    return Facet()


def _status(document: Document) -> str:
    if document.key.type != "customer":
        return ""
    for _, _, edit in reversed(list(read(document, "customer.created", "customer.changed"))):
        if isinstance(edit.fields.status, str):
            return str(edit.fields.status)
        if edit.fields.status is None:
            break
    return "customer"


def _about(document: Document) -> str:
    """The customer of a sale, the order or the customer of a payment."""
    kind = document.key.type
    if kind == "payment":
        _, _, payment = next(read(document, "payment.recorded"))
        return f"order:{payment.order}" if payment.order else f"customer:{payment.customer}"
    for sealed, at in _SEALED[kind]:
        if facts := document.facts.get(sealed):
            customer = _decode_sale(facts[at].body).content.customer
            return f"customer:{_counts_as(document, customer)}"
    if kind == "order":
        for _, _, edit in reversed(list(read(document, "order.drafted", "order.changed"))):
            if isinstance(edit.fields.customer, str):
                return f"customer:{edit.fields.customer}"
            if edit.fields.customer is None:
                break
    return ""


def _counts_as(document: Document, customer: str) -> str:
    if f"{document.key.type}.corrected" in document.facts:
        for one in corrections(document):
            if (one.field, one.was) == ("customer", customer):
                return one.now
    return customer


def _authors(document: Document, *kinds: str) -> bytes:
    nodes = {
        tag_node(fact.tag)
        for kind in kinds
        for fact in document.facts.get(kind, ())
        if fact.origin == Origin.DEVICE
    }
    return b"".join(sorted(nodes))
