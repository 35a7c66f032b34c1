"""Files carried by hand: what was put in comes out, and damage of any kind is found."""

from __future__ import annotations

import json
import zlib
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica import limits
from replica.errors import Malformed, ReplicaError, TooLarge, UpgradeRequired
from replica.limits import CARRY_FILE_BYTES_MAX, PUSH_BYTES_TARGET, PUSH_EVENTS_MAX
from replica.sync import carry
from replica.sync.messages import Decision, Outcome, Push, Verdict

KEY = carry.file_key("a-device-token")
VECTORS = Path(__file__).parent.parent / "vectors" / "carry.json"


def header(events: int, sort: int = carry.WORK, **more: Any) -> carry.Header:
    said = {"account": b"\xa0" * 16, "device": b"\xd0" * 16, "made_ms": 5, "software": "till/1"}
    return carry.Header(format=1, sort=sort, events=events, **{**said, **more})


def work(*chains: carry.Part) -> bytes:
    return carry.encode_work(header(sum(len(one.events) for one in chains)), chains, KEY)


def put_together(head: carry.Header, body: bytes) -> bytes:
    """A file whose sums are right, whatever is in it."""
    encoded = msgspec.msgpack.encode(head)
    opened = carry.MAGIC + len(encoded).to_bytes(2, "big") + encoded + zlib.compress(body)
    sealed = opened + bytes(32)
    return sealed + sha256(sealed).digest()


def framed(*frames: msgspec.Struct | bytes) -> bytes:
    encoded = [one if isinstance(one, bytes) else msgspec.msgpack.encode(one) for one in frames]
    return b"".join(len(one).to_bytes(4, "big") + one for one in encoded)


SAMPLE = work(
    carry.Part(1, 7, tuple(bytes([n]) * 90 for n in range(20))), carry.Part(2, 1, (b"x", b"y"))
)


@settings(max_examples=60)
@given(
    sizes=st.lists(st.lists(st.integers(0, 30_000), min_size=1, max_size=30), max_size=3),
    first=st.integers(1, 10**12),
)
def test_the_events_that_went_in_come_out_in_pushes(sizes: list[list[int]], first: int) -> None:
    """Every event is there once and in order, in parts that a push may hold (OFF-15, SYN-17)."""
    chains = [
        carry.Part(epoch, first, tuple(bytes([epoch]) * size for size in chain))
        for epoch, chain in enumerate(sizes, 1)
    ]
    found = carry.decode_work(work(*chains))
    for chain in chains:
        parts = [part for part in found.parts if part.epoch == chain.epoch]
        assert tuple(event for part in parts for event in part.events) == chain.events
        assert parts[0].first_seq == first
        for part, following in pairwise(parts):
            assert following.first_seq == part.first_seq + len(part.events)
    for part in found.parts:
        assert len(part.events) <= PUSH_EVENTS_MAX
        assert len(part.events) == 1 or sum(map(len, part.events)) <= PUSH_BYTES_TARGET


def test_a_receipt_gives_the_answers_back() -> None:
    """Verdicts, decisions, and the file they answer survive the way back (OFF-16)."""
    verdicts = (Verdict(Outcome.ACCEPTED, 2, 10, 99), Verdict(Outcome.REFUSED, 1, code="malformed"))
    answered = carry.Answered(2, 5, b"\x01" * 32, verdicts, (Decision(1, b"\x02" * 16, 1),))
    head = header(3, carry.RECEIPT, log_id=b"\x03" * 16, generation=2, answers=b"\x04" * 32)
    data = carry.encode_receipt(head, [answered], KEY)
    assert carry.decode_receipt(data) == carry.Receipt(head, (answered,))
    assert carry.is_sealed(data, KEY)


def test_only_the_device_and_its_server_can_seal() -> None:
    """Another token's seal, and a header changed with its sum made right, do not pass (I-7)."""
    assert carry.is_sealed(SAMPLE, KEY)
    assert not carry.is_sealed(SAMPLE, carry.file_key("another token"))
    forged = SAMPLE[:-32].replace(b"till/1", b"TILL/1")
    forged += sha256(forged).digest()
    assert carry.decode_work(forged).header.software == "TILL/1"
    assert not carry.is_sealed(forged, KEY)
    assert b"a-device-token" not in SAMPLE


@settings(max_examples=200)
@given(data=st.data())
def test_any_damage_is_a_typed_error(data: st.DataObject) -> None:
    """Cut anywhere, with any byte changed, or with anything behind it, a file is refused whole
    (OFF-16, I-20)."""
    at = data.draw(st.integers(0, len(SAMPLE) - 1))
    bit = data.draw(st.integers(1, 255))
    damaged = data.draw(
        st.sampled_from(
            [
                SAMPLE[:at],
                SAMPLE[at + 1 :],
                SAMPLE[:at] + bytes([SAMPLE[at] ^ bit]) + SAMPLE[at + 1 :],
                SAMPLE + bytes([bit]),
                SAMPLE.replace(b"\r\n", b"\n"),
            ]
        )
    )
    for decode in (carry.decode_work, carry.decode_receipt, carry.read_header):
        with pytest.raises(Malformed):
            decode(damaged)


@settings(max_examples=200)
@given(
    body=st.one_of(
        st.binary(max_size=200), st.lists(st.binary(max_size=40)).map(lambda x: framed(*x))
    )
)
def test_whatever_a_file_holds_reading_it_ends_in_a_typed_error(body: bytes) -> None:
    """A file with right sums and hostile frames is read to values or refused (I-20)."""
    for sort, decode in ((carry.WORK, carry.decode_work), (carry.RECEIPT, carry.decode_receipt)):
        try:
            found = decode(put_together(header(0, sort), body))
        except ReplicaError:
            continue
        assert found.header.events == 0


PUSH = Push(1, 1, (b"e",))


@pytest.mark.parametrize(
    "frames",
    [
        [PUSH],
        [carry.Chain(1), Push(2, 1, (b"e",))],
        [carry.Chain(1), PUSH, Push(2, 3, (b"e",))],
        [carry.Chain(1), Push(1, 0, (b"e",))],
        [carry.Chain(1), Push(1, 1, ())],
        [carry.Chain(1), Push(1, 1, (b"",) * 501)],
        [carry.Answered(1, 1, bytes(32), ())],
        [b"\x92\x63\x01"],
    ],
)
def test_frames_that_make_no_chain_are_malformed(frames: list[Any]) -> None:
    """Pushes out of order, with gaps, empty or too long, and foreign frames are no work (I-20)."""
    count = sum(len(one.events) for one in frames if isinstance(one, Push))
    with pytest.raises(Malformed):
        carry.decode_work(put_together(header(count), framed(*frames)))


def test_counts_sorts_and_formats_are_checked() -> None:
    """A file that holds other than it says, or is of another sort or a later format, is refused
    with the reason (I-20, OFF-23)."""
    body = framed(carry.Chain(1), PUSH)
    assert carry.decode_work(put_together(header(1), body)).parts == (carry.Part(1, 1, (b"e",)),)
    with pytest.raises(Malformed, match="the events it names"):
        carry.decode_work(put_together(header(2), body))
    with pytest.raises(Malformed, match="holds a receipt"):
        carry.decode_work(put_together(header(0, carry.RECEIPT), b""))
    with pytest.raises(Malformed, match="holds work"):
        carry.decode_receipt(SAMPLE)
    with pytest.raises(UpgradeRequired):
        carry.decode_work(put_together(msgspec.structs.replace(header(1), format=2), body))


def test_a_flood_in_a_small_file_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file inflates to is bounded, and so is the file (I-20)."""
    monkeypatch.setattr(carry, "CARRY_BODY_BYTES_MAX", 1_000)
    with pytest.raises(TooLarge):
        carry.decode_work(put_together(header(1), bytes(10_000)))
    with pytest.raises(TooLarge):
        work(carry.Part(1, 1, (bytes(2_000),)))
    with pytest.raises(TooLarge):
        carry.read_header(bytes(CARRY_FILE_BYTES_MAX + 1))
    assert limits.CARRY_FILE_BYTES_MAX < limits.CARRY_BODY_BYTES_MAX


def test_the_vectors_are_read_as_they_say() -> None:
    """tests/vectors/carry.json: a file of work and its receipt with what they mean (SYN-17)."""
    known = json.loads(VECTORS.read_text())
    key = carry.file_key(known["token"])
    data = bytes.fromhex(known["work"]["file"])
    found = carry.decode_work(data)
    assert carry.is_sealed(data, key)
    assert [
        {"epoch": one.epoch, "first_seq": one.first_seq, "events": [e.hex() for e in one.events]}
        for one in found.parts
    ] == known["work"]["parts"]
    assert found.header.device.hex() == known["device"]
    data = bytes.fromhex(known["receipt"]["file"])
    receipt = carry.decode_receipt(data)
    assert carry.is_sealed(data, key)
    assert receipt.header.answers == carry.file_sum(bytes.fromhex(known["work"]["file"]))
    (answered,) = receipt.answers
    assert [msgspec.to_builtins(one) for one in answered.verdicts] == known["receipt"]["verdicts"]
    assert answered.head.hex() == known["receipt"]["head"]


def vectors() -> dict[str, Any]:
    """What tests/vectors/carry.json holds; ``python -m tests.sync.test_carry`` writes it."""
    token = "a-device-token"
    key = carry.file_key(token)
    known = json.loads((VECTORS.parent / "frames.json").read_text())["events"]
    events = tuple(bytes.fromhex(one["hex"]) for one in known)
    account, device = (bytes.fromhex(known[0]["event"][name]) for name in ("account", "device"))
    who: dict[str, Any] = {"account": account, "device": device, "made_ms": 1_700_000_000_000}
    part = carry.Part(1, 1, events)
    data = carry.encode_work(header(2, **who), [part], key)
    verdicts = (
        Verdict(Outcome.ACCEPTED, 1, 10, 1_700_000_000_040),
        Verdict(Outcome.DUPLICATE, 1, 4, 1_700_000_000_000),
    )
    history: dict[str, Any] = {
        "log_id": b"\xf0" * 16,
        "generation": 1,
        "answers": carry.file_sum(data),
    }
    head = header(2, carry.RECEIPT, **who, **history)
    last = sha256(events[-1]).digest()
    receipt = carry.encode_receipt(head, [carry.Answered(1, 1, last, verdicts)], key)
    part_said = {"epoch": 1, "first_seq": 1, "events": [one.hex() for one in events]}
    return {
        "token": token,
        "device": device.hex(),
        "work": {"file": data.hex(), "parts": [part_said]},
        "receipt": {
            "file": receipt.hex(),
            "head": last.hex(),
            "verdicts": [msgspec.to_builtins(one) for one in verdicts],
        },
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(vectors(), indent=1) + "\n")
