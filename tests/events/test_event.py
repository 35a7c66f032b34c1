"""The event: one canonical form, and nothing else is accepted."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import Malformed, TooLarge
from replica.events.clock import make_stamp
from replica.events.event import (
    GENESIS,
    Event,
    check_event,
    decode_event,
    decode_events,
    device_node,
    encode_event,
    event_id,
    event_stamp,
)
from replica.limits import DEPS_MAX, EVENT_BYTES_MAX

DEVICE = bytes(range(16))
_hash = st.binary(min_size=32, max_size=32)
_events = st.builds(
    Event,
    st.just(1),
    st.binary(min_size=16, max_size=16),
    st.just(DEVICE),
    st.integers(0, 2**31 - 1),
    st.integers(1, 2**53 - 1),
    _hash,
    st.integers(0, 2**48 - 1).map(lambda ms: make_stamp(ms, 0, DEVICE[8:])),
    st.from_regex(r"[a-z_.]{1,64}", fullmatch=True),
    st.integers(1, 2**16 - 1),
    st.lists(_hash, max_size=DEPS_MAX).map(tuple),
    st.binary(max_size=300),
)
SAMPLE = Event(
    1, bytes(16), DEVICE, 0, 1, GENESIS, make_stamp(5, 0, DEVICE[8:]), "note.edited", 1, (), b"\x80"
)


@given(_events)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    """Encoding and decoding are inverse, and the id is the SHA-256 of the bytes (§2)."""
    data = encode_event(event)
    assert decode_event(data) == event
    assert event_id(data) == sha256(data).digest()
    assert event_stamp(event)[8:] == device_node(event.device)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    """Junk is malformed, or it is an event that encodes to the very same bytes (I-20)."""
    try:
        event = decode_event(data)
    except (Malformed, TooLarge):
        return
    assert encode_event(event) == data


@given(event=_events, at=st.integers(0), byte=st.integers(0, 255), cut=st.integers(0, 400))
def test_mutated_events_never_raise_anything_else(
    event: Event, at: int, byte: int, cut: int
) -> None:
    """One changed byte or a cut gives another canonical event or ``Malformed`` (I-20)."""
    data = bytearray(encode_event(event))
    data[at % len(data)] = byte
    for changed in (bytes(data), bytes(data[:cut])):
        try:
            assert encode_event(decode_event(changed)) == changed
        except Malformed:
            continue


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"account": bytes(15)},
        {"device": bytes(17)},
        {"epoch": -1},
        {"epoch": 2**31},
        {"seq": 0},
        {"seq": 2**53},
        {"prev": bytes(31)},
        {"stamp": bytes(15)},
        {"stamp": bytes(16)},
        {"kind": ""},
        {"kind": "x" * 65},
        {"kind": "größe"},
        {"version": 0},
        {"version": 2**16},
        {"deps": (bytes(32),) * (DEPS_MAX + 1)},
        {"deps": (bytes(31),)},
    ],
)
def test_a_wrong_envelope_is_refused(change: dict[str, object]) -> None:
    """Every field of the envelope has its shape (§2)."""
    wrong = msgspec.structs.replace(SAMPLE, **change)
    with pytest.raises(Malformed):
        check_event(wrong)
    with pytest.raises(Malformed):
        decode_event(encode_event(wrong))


def test_other_encodings_of_the_same_event_are_refused() -> None:
    """A longer integer, an extra element or bytes after the end make another id: refused (§2)."""
    data = encode_event(SAMPLE)
    assert data[:2] == b"\x9b\x01"
    for other in (b"\x9b\xcc\x01" + data[2:], b"\x9c" + data[1:] + b"\xc0", data + b"\xc0"):
        with pytest.raises(Malformed):
            decode_event(other)


def test_too_large_an_event_is_named_as_such() -> None:
    """The bound is checked before anything is decoded (D10)."""
    with pytest.raises(TooLarge) as caught:
        decode_event(bytes(EVENT_BYTES_MAX + 1))
    assert caught.value.limit == EVENT_BYTES_MAX


def test_deep_nesting_is_malformed() -> None:
    """Ten thousand nested arrays end in a typed error, not in the end of the process (D10)."""
    with pytest.raises(Malformed):
        decode_event(b"\x91" * 10_000 + b"\xc0")


@given(st.lists(_events, min_size=1, max_size=4), st.data())
def test_events_are_canonical_together_or_one_of_them_alone_is_not(
    events: list[Event], draw: st.DataObject
) -> None:
    """Whatever byte is set or left out, and wherever one ends and the next begins, checking all at
    once lets through exactly what checking one by one does (§2)."""
    joined = bytearray(b"".join(map(encode_event, events)))
    at = draw.draw(st.integers(0, len(joined) - 1))
    joined[at : at + draw.draw(st.integers(0, 1))] = draw.draw(st.binary(max_size=2))
    shift = draw.draw(st.integers(-1, 1))
    cut = len(encode_event(events[0])) + shift
    pieces = [bytes(joined[:cut]), bytes(joined[cut:])]

    def passes(check: Callable[[], object]) -> bool:
        try:
            check()
        except (Malformed, TooLarge):
            return False
        return True

    assert passes(lambda: decode_events(pieces)) == passes(lambda: [*map(decode_event, pieces)])
