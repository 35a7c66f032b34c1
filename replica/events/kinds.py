"""The catalogue: every kind of event with its version, shape, origins and rules.

Whoever wants to know what an event says asks here. Storage and transport never do: they carry
payloads as opaque bytes, known or not (reliability I-13).

A kind changes by a new version beside the old one, with an upcaster from the old struct to the new;
a released version is never edited. Readers see the newest version only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from replica.errors import Malformed, MisuseError
from replica.events import payloads as p
from replica.events import rules
from replica.events.clock import Stamp
from replica.events.event import EVENT_FORMAT, Event, check_event, encode_event, encodes_to
from replica.events.payloads import Payload
from replica.events.record import Origin

MERGE_RULES_VERSION = 1
"""Raised whenever the fold or a view gives another state for the same set of records."""

ANYBODY = frozenset(Origin)
FROM_SINK = frozenset({Origin.SINK})
FROM_WEB = frozenset({Origin.WEB})

Upcaster = Callable[[Any], Payload]
"""Old struct to the struct of the next version of the same kind. Total: it never fails."""


class Kind:
    """One kind in one version. ``check`` takes payloads of it, at least one, and raises
    ``Malformed`` where a rule is broken."""

    def __init__(
        self,
        name: str,
        version: int,
        struct: type[Payload],
        origins: frozenset[Origin] = ANYBODY,
        check: Callable[[Sequence[Any]], None] = rules.no_rule,
    ) -> None:
        self.name = name
        self.version = version
        self.struct = struct
        self.origins = origins
        self.check = check

    @cached_property
    def decoder(self) -> msgspec.msgpack.Decoder[Payload]:
        return msgspec.msgpack.Decoder(self.struct)

    def decode_all(self, bodies: list[bytes]) -> list[Payload]:
        """What ``bodies`` say. Raises ``Malformed`` unless every one is canonical and keeps the
        rules, without saying which one does not."""
        try:
            payloads = list(map(self.decoder.decode, bodies))
            # Equal bytes prove sorted unique keys, shortest integers, absent defaults, no floats.
            canonical = encodes_to(_encoder, payloads, bodies)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Malformed(f"{self.name}: {error}") from error
        if not canonical:
            raise Malformed(f"{self.name}: the payload is not in canonical form")
        self.check(payloads)
        return payloads


_encoder = msgspec.msgpack.Encoder(order="sorted")


class Said(NamedTuple):
    """A payload that keeps its kind's rules, with its canonical bytes."""

    kind: Kind
    body: bytes
    payload: Payload


class Registry:
    """A set of kinds with their upcasters. The product has one, ``REGISTRY``."""

    def __init__(
        self,
        kinds: Iterable[Kind],
        upcasters: Mapping[tuple[str, int], Upcaster] = MappingProxyType({}),
    ) -> None:
        self.kinds: Mapping[tuple[str, int], Kind] = MappingProxyType(
            {(kind.name, kind.version): kind for kind in kinds}
        )
        self.upcasters = upcasters
        ordered = sorted(self.kinds.values(), key=lambda kind: kind.version)
        self.newest: Mapping[str, Kind] = {kind.name: kind for kind in ordered}
        self._by_struct = {kind.struct: kind for kind in ordered}
        self._names = str(sorted(f"{name}/{version}" for name, version in self.kinds))
        for kind in ordered:
            if self.newest[kind.name] is not kind and (kind.name, kind.version) not in upcasters:
                raise MisuseError(f"{kind.name}/{kind.version} is old and has no upcaster")

    def encode(self, payload: Payload) -> tuple[str, int, bytes]:
        """Kind, version and canonical bytes of ``payload``. The door checks it, not this."""
        kind = self._by_struct.get(type(payload))
        if kind is None:
            raise MisuseError(f"{type(payload).__name__} is in no catalogue")
        return kind.name, kind.version, _encoder.encode(payload)

    def say(self, payload: Payload) -> Said:
        """What an author is going to say, checked as the door will check it; go on with the payload
        that is given back, which has the types it claims.

        Raises ``Malformed`` when ``payload`` breaks a rule of its kind or cannot be encoded.
        """
        kind = self._by_struct.get(type(payload))
        if kind is None:
            raise Malformed(f"{type(payload).__name__} is in no catalogue")
        try:
            body = _encoder.encode(payload)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise Malformed(f"{kind.name}: {error}") from error
        (said,) = kind.decode_all([body])
        return Said(kind, body, said)

    def decode(self, event: Event) -> Payload | None:
        """What ``event`` says, upcast to the newest version; None for an unknown kind or version.

        Raises ``Malformed`` when a known kind does not decode, is not canonical, or breaks a rule.
        """
        kind = self.kinds.get((event.kind, event.version))
        if kind is None:
            return None
        (payload,) = kind.decode_all([event.payload])
        return payload if kind is self.newest[kind.name] else self._upcast(kind, payload)

    def peek(self, event: Event) -> Payload | None:
        """:meth:`decode` without the rules of the kind, at a tenth of the price: for finding out
        what ``event`` is about, never for believing it. None where that cannot be told."""
        kind = self.kinds.get((event.kind, event.version))
        if kind is None:
            return None
        try:
            payload = kind.decoder.decode(event.payload)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        return payload if kind is self.newest[kind.name] else self._upcast(kind, payload)

    def check_all(self, events: Iterable[Event]) -> None:
        """:meth:`decode` of every one, kind by kind in passes over all, with nothing given back.

        Raises when any of them does not pass, without saying which.
        """
        payloads: dict[tuple[str, int], list[bytes]] = {}
        for event in events:
            payloads.setdefault((event.kind, event.version), []).append(event.payload)
        for key, bodies in payloads.items():
            if (kind := self.kinds.get(key)) is not None:
                kind.decode_all(bodies)

    def read(self, name: str, body: bytes) -> Any:
        """The newest struct of kind ``name`` from bytes that were checked before."""
        return self.newest[name].decoder.decode(body)

    def fingerprint(self) -> bytes:
        """32 bytes that change whenever the same log may give other documents (see below)."""
        return _fingerprint(MERGE_RULES_VERSION, self._names)

    def _upcast(self, kind: Kind, payload: Payload) -> Payload:
        version = kind.version
        while (upcast := self.upcasters.get((kind.name, version))) is not None:
            payload = upcast(payload)
            version += 1
        return payload


UPCASTERS: Mapping[tuple[str, int], Upcaster] = MappingProxyType({})
"""``(kind, old version)`` to the function that gives the next version. None is needed yet."""

REGISTRY = Registry(
    [
        Kind("customer.created", 1, p.CustomerCreated),
        Kind("customer.changed", 1, p.CustomerChanged, check=rules.check_changed),
        Kind("customer.deleted", 1, p.CustomerDeleted),
        Kind("customer.restored", 1, p.CustomerRestored),
        Kind("customer.linked", 1, p.CustomerLinked, FROM_SINK),
        Kind("customer.followed", 1, p.CustomerFollowed, FROM_SINK),
        Kind("product.created", 1, p.ProductCreated),
        Kind("product.changed", 1, p.ProductChanged, check=rules.check_changed),
        Kind("product.deleted", 1, p.ProductDeleted),
        Kind("product.restored", 1, p.ProductRestored),
        Kind("product.linked", 1, p.ProductLinked, FROM_SINK),
        Kind("product.followed", 1, p.ProductFollowed, FROM_SINK),
        Kind("class.created", 1, p.ClassCreated),
        Kind("class.changed", 1, p.ClassChanged, check=rules.check_changed),
        Kind("class.deleted", 1, p.ClassDeleted),
        Kind("class.restored", 1, p.ClassRestored),
        Kind("class.linked", 1, p.ClassLinked, FROM_SINK),
        Kind("department.created", 1, p.DepartmentCreated),
        Kind("department.changed", 1, p.DepartmentChanged, check=rules.check_changed),
        Kind("department.deleted", 1, p.DepartmentDeleted),
        Kind("department.restored", 1, p.DepartmentRestored),
        Kind("department.linked", 1, p.DepartmentLinked, FROM_SINK),
        Kind("stock.counted", 1, p.StockCounted),
        Kind("stock.moved", 1, p.StockMoved),
        Kind("order.drafted", 1, p.OrderDrafted, check=rules.check_order_fields),
        Kind("order.changed", 1, p.OrderChanged, check=rules.check_order_fields),
        Kind("order.line_put", 1, p.OrderLinePut),
        Kind("order.line_removed", 1, p.OrderLineRemoved),
        Kind("order.committed", 1, p.OrderCommitted, check=rules.check_sale),
        Kind("order.amended", 1, p.OrderAmended, check=rules.check_sale),
        Kind("order.cancelled", 1, p.OrderCancelled),
        Kind("order.corrected", 1, p.OrderCorrected, FROM_WEB, rules.check_corrected),
        Kind("order.estimated", 1, p.OrderEstimated, FROM_SINK),
        Kind("order.parked", 1, p.OrderParked, FROM_SINK),
        Kind("order.followed", 1, p.OrderFollowed, FROM_SINK),
        Kind("quote.committed", 1, p.QuoteCommitted, check=rules.check_sale),
        Kind("quote.withdrawn", 1, p.QuoteWithdrawn),
        Kind("quote.corrected", 1, p.QuoteCorrected, FROM_WEB, rules.check_corrected),
        Kind("quote.estimated", 1, p.QuoteEstimated, FROM_SINK),
        Kind("quote.parked", 1, p.QuoteParked, FROM_SINK),
        Kind("quote.followed", 1, p.QuoteFollowed, FROM_SINK),
        Kind("return.committed", 1, p.ReturnCommitted, check=rules.check_return),
        Kind("payment.recorded", 1, p.PaymentRecorded, check=rules.check_payment),
        Kind("note.edited", 1, p.NoteEdited),
        Kind("device.enrolled", 1, p.DeviceEnrolled, FROM_WEB),
        Kind("device.revoked", 1, p.DeviceRevoked, FROM_WEB),
        Kind("device.scoped", 1, p.DeviceScoped, FROM_WEB, rules.check_scope),
        Kind("twin.found", 1, p.TwinFound, FROM_WEB, rules.check_twin),
        Kind("twin.decided", 1, p.TwinDecided, FROM_WEB, rules.check_decided),
        Kind("sync.finished", 1, p.SyncFinished, FROM_WEB, rules.check_run),
    ],
    UPCASTERS,
)

CATALOGUE = REGISTRY.kinds


@cache
def _fingerprint(merge_rules: int, names: str) -> bytes:
    return sha256(f"{merge_rules}\n{names}".encode()).digest()


def encode_payload(payload: Payload) -> tuple[str, int, bytes]:
    """Kind, version and canonical bytes of ``payload``. The door checks it, not this."""
    return REGISTRY.encode(payload)


def decode_payload(event: Event) -> Payload | None:
    """What ``event`` says, upcast to the newest version; None for an unknown kind or version.

    Raises ``Malformed`` when a known kind does not decode, is not canonical, or breaks a rule:
    refuse the event with that message.
    """
    return REGISTRY.decode(event)


def catalogue_fingerprint() -> bytes:
    """32 bytes naming the kinds, their versions and the merge rules.

    A projection stores it beside its checkpoint and rebuilds from the log when it differs: a kind
    that was unknown may have become known, and its events are in the log already.
    """
    return REGISTRY.fingerprint()


def build_event(  # noqa: PLR0917 - the order of the fields in the event
    account: bytes,
    device: bytes,
    epoch: int,
    seq: int,
    prev: bytes,
    stamp: Stamp,
    payload: Payload,
    deps: Sequence[bytes] = (),
) -> bytes:
    """Canonical bytes of the author's next event. Raises ``Malformed`` for a wrong envelope.

    ``prev`` is the id of the event at ``seq - 1``, ``GENESIS`` for the first. Store the bytes, the
    stamp and the new head of the chain in one transaction before anything is sent (pitfalls P31).
    """
    kind, version, body = encode_payload(payload)
    event = Event(
        EVENT_FORMAT,
        account,
        device,
        epoch,
        seq,
        prev,
        stamp,
        kind,
        version,
        tuple(deps),
        body,
    )
    check_event(event)
    return encode_event(event)
