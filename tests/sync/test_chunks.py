"""Chunks and manifests: what goes in comes out, and nothing else is believed."""

from __future__ import annotations

import zlib
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import Malformed
from replica.limits import CHUNK_BYTES_TARGET, CHUNK_RAW_BYTES_MAX, MANIFEST_BYTES_MAX
from replica.sync.chunks import (
    FORMAT,
    Chunk,
    ChunkInfo,
    Kept,
    Layer,
    Manifest,
    cut,
    decode_manifest,
    encode_manifest,
    open_chunk,
)

documents = st.lists(st.builds(Kept, st.text(max_size=20), st.binary(max_size=200)), max_size=30)
ZERO = "00" * 32


def manifest(*layers: tuple[int, int], position: int | None = None) -> Manifest:
    made = tuple(Layer(after, through, ()) for after, through in layers)
    end = position if position is not None else layers[-1][1]
    return Manifest("ab" * 16, 1, end, ZERO, ZERO, (), made)


def forged(body: object) -> Chunk:
    """A chunk with the hash it claims and whatever inside."""
    data = zlib.compress(msgspec.msgpack.encode(body))
    return Chunk(ChunkInfo(sha256(data).hexdigest(), len(data), "order", 1), data)


@given(documents)
def test_documents_come_out_as_they_went_in(given_documents: list[Kept]) -> None:
    """Cutting and opening gives the same documents in the same order (SYN-01)."""
    found = [
        document
        for info, data in cut("order", given_documents)
        for document in open_chunk(info, data)
    ]
    assert found == given_documents


def test_chunks_are_bounded_and_equal_documents_make_equal_chunks() -> None:
    """Many documents become several chunks near the target, named by what is in them."""
    many = [Kept(str(number), bytes([number % 7]) * 4_000) for number in range(700)]
    first = list(cut("order", many))
    assert [chunk.info for chunk in cut("order", many)] == [chunk.info for chunk in first]
    assert len(first) == 3
    sizes = [sum(len(one.state) for one in open_chunk(*chunk)) for chunk in first]
    assert all(size < CHUNK_BYTES_TARGET + 5_000 for size in sizes)


@given(documents.filter(bool), st.data())
def test_any_changed_byte_is_found(given_documents: list[Kept], data: st.DataObject) -> None:
    """A chunk with one bit flipped, cut short or with something added is refused."""
    (info, good), *_ = cut("order", given_documents)
    at = data.draw(st.integers(0, len(good) - 1))
    flipped = bytearray(good)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    for bad in (bytes(flipped), good[:at], good + b"\0"):
        with pytest.raises(Malformed):
            open_chunk(info, bad)


@pytest.mark.parametrize(
    "body",
    [
        [FORMAT + 1, "order", [["1", b"x"]]],
        [FORMAT, "customer", [["1", b"x"]]],
        [FORMAT, "order", []],
        [FORMAT, "order", [["1", "text"]]],
        [FORMAT, "order", [[1, b"x"]]],
        {"order": 1},
        7,
    ],
)
def test_a_chunk_of_the_right_hash_and_wrong_content_is_refused(body: object) -> None:
    """The hash names bytes, not truth: format, section and count have to fit the manifest."""
    with pytest.raises(Malformed):
        open_chunk(*forged(body))


def test_a_chunk_that_unpacks_without_end_is_refused() -> None:
    """A small chunk that claims more than a chunk may hold costs no more than that."""
    data = zlib.compress(b"\0" * (CHUNK_RAW_BYTES_MAX + 1))
    with pytest.raises(Malformed, match="does not end"):
        open_chunk(ChunkInfo(sha256(data).hexdigest(), len(data), "order", 1), data)


def test_manifest_leads_on_from_a_cursor() -> None:
    """Only the layers that end behind the cursor are asked for (SYN-02)."""
    whole = manifest((0, 10), (10, 25), (25, 40))
    assert decode_manifest(encode_manifest(whole)) == whole
    assert [layer.through for layer in whole.after(0).layers] == [10, 25, 40]
    assert [layer.through for layer in whole.after(10).layers] == [25, 40]
    assert [layer.through for layer in whole.after(11).layers] == [25, 40]
    assert whole.after(40).layers == ()


@pytest.mark.parametrize(
    "bad",
    [
        manifest((0, 10), (11, 20)),
        manifest((0, 10), (10, 20), position=30),
        manifest((5, 5)),
        manifest((9, 5)),
        Manifest("ab" * 16, 1, 0, ZERO, ZERO, (), ()),
    ],
)
def test_a_manifest_with_a_gap_is_refused(bad: Manifest) -> None:
    """Layers that do not follow each other up to the position would leave documents out."""
    with pytest.raises(Malformed):
        decode_manifest(encode_manifest(bad))


@given(st.binary(max_size=300))
def test_garbage_is_no_manifest(data: bytes) -> None:
    """Whatever bytes come instead of a manifest, the answer is Malformed."""
    with pytest.raises(Malformed):
        decode_manifest(data)


def test_an_endless_manifest_is_refused() -> None:
    """The bound is looked at before anything is decoded."""
    with pytest.raises(Malformed, match="too large"):
        decode_manifest(b" " * (MANIFEST_BYTES_MAX + 1))
