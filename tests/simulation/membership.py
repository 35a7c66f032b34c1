"""What a scope lets its device see: the auditor's own reading of wire-protocol.md §14.1.

Works on the states of documents as bytes, with a plain msgpack reader, and shares no rule with the
product. Asked for every answer that crosses a line, so what a state says is remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgpack

Key = tuple[str, str]
States = Mapping[Any, bytes]
"""States by (type, id), of everything there is."""

DEVICE = 1  # the origin of what a device wrote
SALES = ("order", "quote", "return")


class Says(NamedTuple):
    """What a state says of whom it is about, who wrote it, and whether he is a prospect."""

    about: tuple[str, ...] = ()
    authors: frozenset[bytes] = frozenset()
    status: str = "customer"


_NOTHING = Says()


class Membership:
    """One scope, as plain values, over all documents."""

    def __init__(self, scope: Mapping[str, Any], states: States) -> None:
        self._scope, self._states = scope, states
        self._node = bytes.fromhex(scope["device"])[8:]
        chosen = [scope[name] for name in ("customers", "prospects", "products")]
        bounds = scope["without"] or scope["leaving"] or scope["orders"] == "own"
        self.everything = chosen == [None, None, None] and not bounds

    def sees(self, kind: str, identity: str) -> bool:
        """Whether the device may hold this document."""
        if self.everything:
            return kind != "sold"
        return self._place(kind, identity) == "in"

    def seen(self) -> set[Key]:
        """Every document that there is and the device is to hold, but for what was sold."""
        return {(kind, identity) for kind, identity in self._states if self.sees(kind, identity)}

    def counts(self) -> Counter[str]:
        return Counter(kind for kind, _ in self.seen())

    def _place(self, kind: str, identity: str) -> str:
        state = self._states.get((kind, identity))
        says = _NOTHING if state is None else _says(kind, identity, state)
        own = self._node in says.authors
        if kind == "customer":
            return self._customer(identity, says.status, own=own)
        if kind == "product":
            chosen = self._scope["products"]
            return _in(own or chosen is None or identity in chosen)
        if kind in ("class", "department"):
            return "in"
        if kind == "device":
            return _in(identity == self._scope["device"])
        if kind == "twin":
            return _in(any(self._of(one) == "in" for one in says.about))
        if kind in ("stock", "sold"):
            return self._place("product", identity)
        if kind == "note":
            return self._of(identity)
        if kind == "sync" or state is None:
            return "out"
        return self._sale(kind, says, own=own)

    def _customer(self, identity: str, status: str, *, own: bool) -> str:
        scope = self._scope
        if identity in scope["without"]:
            return "barred"
        every = scope["prospects" if status == "prospect" else "customers"] is None
        chosen = (*(scope["customers"] or ()), *(scope["prospects"] or ()))
        return _in(every or own or identity in chosen)

    def _sale(self, kind: str, says: Says, *, own: bool) -> str:
        scope = self._scope
        if says.about:
            place = self._of(says.about[0])
        else:
            place = _in(scope["customers"] is None and scope["prospects"] is None)
        if place == "barred" or own:
            return "barred" if place == "barred" else "in"
        alone = kind in SALES or says.about[0].startswith("customer:")
        return "out" if alone and scope["orders"] == "own" else place

    def _of(self, named: str) -> str:
        kind, _, identity = named.partition(":")
        return self._place(kind, identity)


def _in(holds: object) -> str:
    return "in" if holds else "out"


@lru_cache(maxsize=50_000)
def _says(kind: str, identity: str, state: bytes) -> Says:
    facts: dict[str, Any] = msgpack.unpackb(state)
    if kind in ("customer", "product"):
        made = {f"{kind}.created": facts.get(f"{kind}.created", ())}
        return Says((), _authors(made), _status(facts) if kind == "customer" else "")
    if kind == "twin":
        said = msgpack.unpackb(facts["twin.found"][0][2])
        return Says((f"{said['of']}:{said['first']}", f"{said['of']}:{said['second']}"))
    if kind == "payment":
        said = msgpack.unpackb(facts["payment.recorded"][0][2])
        about = f"order:{said['order']}" if said.get("order") else f"customer:{said['customer']}"
        return Says((about,), _authors(facts))
    if kind in SALES:
        customer = _customer_of(kind, facts)
        return Says((f"customer:{customer}",) if customer else (), _authors(facts))
    return _NOTHING


def _authors(facts: dict[str, Any]) -> frozenset[bytes]:
    return frozenset(
        tag[8:16] for some in facts.values() for tag, origin, *_ in some if origin == DEVICE
    )


def _status(facts: dict[str, Any]) -> str:
    """The newest word about it; unset makes a customer."""
    return _newest(facts, ("customer.created", "customer.changed"), "status") or "customer"


def _customer_of(kind: str, facts: dict[str, Any]) -> str:
    """Whom the content is about that counts; of a draft the newest that was named."""
    newest = [*facts.get("order.amended", ())[-1:], *facts.get("order.committed", ())[:1]]
    newest += facts.get("quote.committed", ())[-1:]
    newest += facts.get("return.committed", ())[:1]
    if newest:
        return str(msgpack.unpackb(newest[0][2])["content"]["customer"])
    return _newest(facts, ("order.drafted", "order.changed"), "customer")


def _newest(facts: dict[str, Any], kinds: tuple[str, ...], field: str) -> str:
    """What ``field`` was given last; empty where it never was, or was taken back."""
    written = [
        (tag, said[field] or "")
        for name in kinds
        for tag, _, body, *_ in facts.get(name, ())
        for said in [msgpack.unpackb(body)["fields"]]
        if field in said
    ]
    return str(max(written)[1]) if written else ""
