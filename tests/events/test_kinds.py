"""The catalogue: every kind round-trips, and nothing but the canonical form is accepted."""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.errors import Malformed, MisuseError
from replica.events import kinds
from replica.events import payloads as p
from replica.events.clock import make_stamp
from replica.events.event import GENESIS, Event, decode_event
from replica.events.kinds import (
    CATALOGUE,
    Kind,
    Registry,
    build_event,
    catalogue_fingerprint,
    decode_payload,
    encode_payload,
)
from replica.events.record import Origin
from tests.crdt.samples import PAYLOADS, Writer, content

SORTED = msgspec.msgpack.Encoder(order="sorted").encode


def event(kind: str, body: bytes, version: int = 1) -> Event:
    template = Writer(1).says(p.CustomerDeleted("c1"), 1).event
    return msgspec.structs.replace(template, kind=kind, version=version, payload=body)


def refused(kind: str, body: bytes) -> str:
    with pytest.raises(Malformed) as caught:
        decode_payload(event(kind, body))
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(PAYLOADS))
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_kind_comes_back_as_it_was(name: str, data: st.DataObject) -> None:
    """Payloads of every kind are encoded, accepted and decoded to the same values (§2.3)."""
    payload = data.draw(PAYLOADS[name])
    kind, version, body = encode_payload(payload)
    assert (kind, version) == (name, 1)
    assert decode_payload(event(kind, body)) == payload
    if not isinstance(payload, p.NoteEdited | p.OrderLineRemoved):
        assert SORTED(msgspec.msgpack.decode(body)) == body


def test_the_catalogue_holds_every_payload_and_names_them_alike() -> None:
    """A struct that is in no kind, or two kinds of one struct, would be a mistake."""
    structs = [kind.struct for kind in CATALOGUE.values()]
    assert len(structs) == len(set(structs))
    for (name, _), kind in CATALOGUE.items():
        assert kind.struct.__name__.lower() == re.sub(r"[._]", "", name)
    parts = {p.Payload, p.Address, p.CustomerFields, p.ProductFields, p.OrderFields}
    parts |= {p.LineFields, p.Content, p.LabelFields}
    defined = {
        value
        for _, value in inspect.getmembers(p, inspect.isclass)
        if issubclass(value, p.Payload) and value.__module__ == p.__name__
    }
    assert defined - parts == set(structs)


def test_origins_are_as_documented() -> None:
    """Answers come from a sink; devices, runs and what the server decides from the web, the rest
    from anybody (§4)."""
    for (name, _), kind in CATALOGUE.items():
        verb = name.partition(".")[2]
        if verb in {"linked", "estimated", "parked", "followed"}:
            assert kind.origins == {Origin.SINK}
        elif name.startswith(("device.", "twin.")) or verb in {"corrected", "finished"}:
            assert kind.origins == {Origin.WEB}
        else:
            assert kind.origins == set(Origin)


def test_unknown_kinds_and_versions_are_not_judged() -> None:
    """What is not known here is stored and forwarded untouched (I-13)."""
    assert decode_payload(event("customer.merged", b"\xc1")) is None
    assert decode_payload(event("customer.deleted", b"\xc1", version=2)) is None


_CREATED = {"customer": "c1", "fields": {"name": "Acme"}}


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("keys not sorted", b"\x82\xa6fields\x81\xa4name\xa1x\xa8customer\xa2c1"),
        ("a key twice", b"\x82\xa8customer\xa2c1\xa8customer\xa2c1"),
        ("an unknown key", SORTED({**_CREATED, "more": 1})),
        ("a missing key", SORTED({"customer": "c1"})),
        ("a long string header", b"\x82\xa8customer\xd9\x02c1\xa6fields\x80"),
        ("bytes after the end", SORTED(_CREATED) + b"\x00"),
        ("cut short", SORTED(_CREATED)[:-1]),
        ("not UTF-8", b"\x82\xa8customer\xa2\xff\xff\xa6fields\x80"),
        ("an array", b"\x92\xa2c1\x80"),
        ("nothing", b""),
        ("a string of an extension type", b"\x82\xa8customer\xd4\x01c\xa6fields\x80"),
    ],
)
def test_other_forms_are_refused(why: str, body: bytes) -> None:
    """One payload has one encoding; everything else is malformed (§2.3)."""
    assert refused("customer.created", body), why


@pytest.mark.parametrize(
    ("number", "accepted"),
    [
        (b"\x05", True),
        (b"\xcc\x05", False),  # a longer integer
        (b"\xd3" + bytes(7) + b"\x05", False),
        (b"\xcb@\x14" + bytes(6), False),  # 5.0
        (b"\xcf\x00\x20" + bytes(6), False),  # 2**53
        (b"\xcf\x00\x1f" + b"\xff" * 6, True),  # 2**53 - 1
    ],
)
def test_numbers_are_shortest_safe_integers(number: bytes, accepted: bool) -> None:
    """Floats, long forms and integers that JavaScript cannot hold never reach the log (I-27)."""
    body = b"\x82\xa7product\xa2p1\xa6qty_e3" + number
    if accepted:
        assert decode_payload(event("stock.counted", body)) is not None
    else:
        refused("stock.counted", body)


def test_a_default_is_absent() -> None:
    """An empty reason is not written, so one meaning has one encoding."""
    body = SORTED({"product": "p1", "qty_e3": 1, "reason": ""})
    assert "canonical" in refused("stock.moved", body)


@given(st.sampled_from(sorted(PAYLOADS)), st.binary(max_size=80))
def test_arbitrary_bytes_never_raise_anything_else(name: str, body: bytes) -> None:
    """Junk under a known kind is malformed, or it is exactly what would be encoded (I-20)."""
    try:
        payload = decode_payload(event(name, body))
    except Malformed:
        return
    assert payload is not None
    assert encode_payload(payload)[2] == body


@settings(deadline=None)
@given(data=st.data(), at=st.integers(0), byte=st.integers(0, 255))
def test_mutated_payloads_never_raise_anything_else(
    data: st.DataObject, at: int, byte: int
) -> None:
    """One changed byte gives another canonical payload or ``Malformed`` (I-20)."""
    name = data.draw(st.sampled_from(sorted(PAYLOADS)))
    body = bytearray(encode_payload(data.draw(PAYLOADS[name]))[2])
    body[at % len(body)] = byte
    try:
        payload = decode_payload(event(name, bytes(body)))
    except Malformed:
        return
    assert payload is not None
    assert encode_payload(payload)[2] == bytes(body)


class Old(p.Payload, frozen=True):
    customer: str


class Newer(p.Payload, frozen=True):
    customer: str
    reason: str = ""


class Newest(p.Payload, frozen=True):
    customer: str
    why: str = ""


_VERSIONS = [Kind("x.y", 1, Old), Kind("x.y", 2, Newer), Kind("x.y", 3, Newest)]
_STEPS: dict[tuple[str, int], Any] = {
    ("x.y", 1): lambda old: Newer(old.customer, "none given"),
    ("x.y", 2): lambda old: Newest(old.customer, old.reason),
}


def test_old_versions_are_upcast_step_by_step() -> None:
    """Readers see the newest version whatever version was written (I-12)."""
    registry = Registry(_VERSIONS, _STEPS)
    assert registry.encode(Newest("c1", "w")) == ("x.y", 3, SORTED({"customer": "c1", "why": "w"}))
    first = event("x.y", SORTED({"customer": "c1"}))
    second = event("x.y", SORTED({"customer": "c1", "reason": "r"}), version=2)
    assert registry.decode(first) == Newest("c1", "none given")
    assert registry.decode(second) == Newest("c1", "r")
    assert registry.read("x.y", SORTED({"customer": "c1", "why": "w"})) == Newest("c1", "w")


def test_an_old_version_without_an_upcaster_is_a_bug() -> None:
    """Upcasting is total on every released version, checked when the catalogue is made (I-12)."""
    with pytest.raises(MisuseError):
        Registry(_VERSIONS, {("x.y", 1): _STEPS["x.y", 1]})
    with pytest.raises(MisuseError):
        Registry(_VERSIONS, _STEPS).encode(p.CustomerDeleted("c1"))


def test_the_fingerprint_names_kinds_versions_and_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stable, and changes with a kind, a version or the merge rules (pitfalls P47)."""
    found = {catalogue_fingerprint(), Registry(_VERSIONS, _STEPS).fingerprint()}
    found.add(Registry(_VERSIONS[2:]).fingerprint())
    assert catalogue_fingerprint() in found
    monkeypatch.setattr(kinds, "MERGE_RULES_VERSION", 99)
    found.add(catalogue_fingerprint())
    assert len(found) == 4
    assert all(len(fingerprint) == 32 for fingerprint in found)


def test_a_built_event_is_accepted_whole() -> None:
    """The builder's bytes decode to the envelope and payload they were made of (§2)."""
    device, stamp = bytes(range(16)), make_stamp(9, 0, bytes(range(8, 16)))
    payload = p.OrderCommitted("o1", content())
    data = build_event(bytes(16), device, 2, 7, b"\x01" * 32, stamp, payload, [GENESIS])
    found = decode_event(data)
    assert (found.epoch, found.seq, found.prev, found.deps) == (2, 7, b"\x01" * 32, (GENESIS,))
    assert decode_payload(found) == payload


def test_a_wrong_envelope_is_not_built() -> None:
    """A stamp of another device's node is refused before anything is stored (I-7)."""
    stamp = make_stamp(9, 0, b"elsewher")
    with pytest.raises(Malformed):
        build_event(bytes(16), bytes(16), 0, 1, GENESIS, stamp, p.CustomerDeleted("c1"))
