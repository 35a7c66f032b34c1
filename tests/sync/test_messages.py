"""Frames: one canonical form, test vectors, and nothing but typed errors for everything else."""

from __future__ import annotations

import json
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.errors import Malformed, PeerError, TooLarge
from replica.limits import DETAIL_BYTES_MAX, FRAME_BYTES_MAX, PUSH_EVENTS_MAX
from replica.sync.messages import (
    CLOSE_CODES,
    CloseCode,
    Cursor,
    Decision,
    Outcome,
    Result,
    Verdict,
    bounded,
    decode_frame,
    encode_frame,
)
from replica.sync.peer import Peer
from replica.sync.table import Role, State
from tests.sync.drive import NOW, goodbye, peer_in
from tests.sync.samples import FRAMES, PATH, SHORTER, shortened, text

PLACES = [
    (role, state)
    for role, states in (
        (Role.SERVER, (State.AWAIT_HELLO, State.AUTHENTICATING, State.PROBING, State.LIVE)),
        (Role.DEVICE, (State.AWAIT_WELCOME, State.LIVE)),
    )
    for state in states
]


def test_vectors_are_what_the_code_makes() -> None:
    """tests/vectors/frames.json is the output of ``python -m tests.sync.samples``."""
    assert PATH.read_text(encoding="utf-8") == text()


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_frames_round_trip(name: str) -> None:
    """Each frame decodes to what was encoded, and encodes to the bytes of its vector."""
    vector = next(v for v in json.loads(text())["frames"] if v["name"] == name)
    data = bytes.fromhex(vector["hex"])
    assert decode_frame(data) == FRAMES[name]
    assert encode_frame(FRAMES[name]) == data


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_extra_elements_are_ignored(name: str) -> None:
    """A later minor version may add fields at the end of any frame (§4)."""
    parts = msgspec.msgpack.decode(encode_frame(FRAMES[name]))
    assert decode_frame(msgspec.msgpack.encode([*parts, "new", {"deep": [1]}])) == FRAMES[name]


@pytest.mark.parametrize("name", sorted(SHORTER))
def test_what_an_older_program_leaves_out_is_empty(name: str) -> None:
    """A frame without the fields that came later still says what it said (§4, §9)."""
    assert decode_frame(shortened(SHORTER[name])) == SHORTER[name]


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_every_truncation_is_malformed(name: str) -> None:
    """A frame cut at any byte is malformed, never something else (reliability §2.2)."""
    data = encode_frame(FRAMES[name])
    for end in range(len(data)):
        with pytest.raises(Malformed):
            decode_frame(data[:end])


NONSENSE = {
    "nothing": b"",
    "never used byte": b"\xc1",
    "a number": b"\x07",
    "no such frame": b"\x92\x18\x00",
    "text": b'{"hello": 1}',
    "100,000 arrays": b"\x91" * 100_000,
    "100,000 arrays after a cursor": b"\x93\x15\x05" + b"\x91" * 100_000,
    "100,000 maps": b"\x81\x01" * 100_000,
    "negative position": b"\x92\x15\xff",
    "position beyond 2**53": b"\x92\x15\xcf" + b"\xff" * 8,
    "float position": b"\x92\x15\xca\x3f\x80\x00\x00",
    "broken UTF-8": b"\x92\x2a\xa2\xff\xfe",
    "an array of four thousand million": b"\x93\x0a\x01\xdd\xff\xff\xff\xff",
    "two frames in one": encode_frame(Cursor(1)) * 2,
}


@pytest.mark.parametrize("what", sorted(NONSENSE))
@pytest.mark.parametrize(("role", "state"), PLACES)
def test_nonsense_ends_the_connection_as_malformed(what: str, role: Role, state: State) -> None:
    """In whatever state, bytes that are no frame are answered ``malformed`` and 1007."""
    peer = peer_in(role, state)
    said = goodbye(peer.receive(NONSENSE[what], NOW))
    assert (said.code, said.close_code) == ("malformed", CloseCode.MALFORMED)
    assert peer.state is State.CLOSED


@pytest.mark.parametrize(("role", "state"), PLACES)
def test_an_oversized_message_ends_the_connection(role: Role, state: State) -> None:
    """A message above the frame bound is answered ``too_large`` and 1009, whatever is in it."""
    peer = peer_in(role, state)
    said = goodbye(peer.receive(bytes(FRAME_BYTES_MAX + 1), NOW))
    assert (said.code, said.close_code) == ("too_large", CloseCode.TOO_LARGE)
    with pytest.raises(TooLarge):
        decode_frame(bytes(FRAME_BYTES_MAX + 1))


def survives(peer: Peer, data: bytes) -> None:
    """The peer goes on, or says goodbye with a documented code and closes."""
    effects = peer.receive(data, NOW)
    if peer.state is State.CLOSED and effects and not getattr(effects[-1], "theirs", False):
        said = goodbye(effects)
        assert CLOSE_CODES[said.code] == said.close_code


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLACES), st.binary(max_size=300))
def test_garbage_never_raises(place: tuple[Role, State], data: bytes) -> None:
    """Any bytes at all end in effects (reliability I-20)."""
    survives(peer_in(*place), data)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(PLACES),
    st.lists(
        st.tuples(st.sampled_from(sorted(FRAMES)), st.integers(0, 1 << 16), st.integers(0, 255)),
        max_size=6,
    ),
)
def test_damaged_frames_never_raise(
    place: tuple[Role, State], damages: list[tuple[str, int, int]]
) -> None:
    """Frames with a byte changed, one after the other, end in effects or a documented goodbye."""
    peer = peer_in(*place)
    for name, at, byte in damages:
        data = bytearray(encode_frame(FRAMES[name]))
        data[at % len(data)] = byte
        survives(peer, bytes(data))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=600))
def test_reasons_are_bounded(text: str) -> None:
    """A reason fits its bound in bytes and is cut, not changed."""
    cut = bounded(text)
    assert len(cut.encode()) <= DETAIL_BYTES_MAX
    assert text.startswith(cut)


def test_the_longest_result_fits_in_a_frame() -> None:
    """A RESULT with a reason of full length for every event of a push is still one frame (§9)."""
    verdicts = tuple(
        Verdict(Outcome.REFUSED, 1, code="c" * 9, detail="x" * DETAIL_BYTES_MAX)
        for _ in range(PUSH_EVENTS_MAX)
    )
    decisions = tuple(Decision(at, bytes(16), 1) for at in range(PUSH_EVENTS_MAX))
    assert len(encode_frame(Result(1, verdicts, decisions))) <= FRAME_BYTES_MAX


def _families(error: type[PeerError]) -> set[str]:
    """Codes of the tree in errors.py; pages and the API have answers of their own below it."""
    children = [child for child in error.__subclasses__() if child.__module__ == error.__module__]
    return {error.code}.union(*map(_families, children))


def test_every_error_of_a_peer_has_a_close_code() -> None:
    """Each way to be wrong closes with a code of its own table, never with ``internal`` (§8)."""
    assert _families(PeerError) - {"peer_error"} <= set(CLOSE_CODES)


def test_event_ids_of_the_vectors_are_their_hashes() -> None:
    """The identity of an event is the SHA-256 of its bytes, nothing else (§2)."""
    for vector in json.loads(text())["events"]:
        assert sha256(bytes.fromhex(vector["hex"])).hexdigest() == vector["id"]
