"""Chunks and manifests: what goes in comes out, and nothing else is believed."""

from __future__ import annotations

import zlib
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import Malformed
from replica.limits import (
    CHUNK_AUTHORS_MAX,
    CHUNK_BYTES_TARGET,
    CHUNK_RAW_BYTES_MAX,
    MANIFEST_BYTES_MAX,
)
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
from replica.sync.columns import SAME

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


def frozen(documents: list[list[object]]) -> list[object]:
    """Documents left whole, as a chunk says them."""
    ids, whole = zip(*documents, strict=True) if documents else ((b"",), ())
    zero = [SAME, b"\x00"]
    return [len(documents), b"", [], [SAME, msgspec.msgpack.encode(ids[0])], [[]], zero, whole, []]


@given(documents)
def test_documents_come_out_as_they_went_in(given_documents: list[Kept]) -> None:
    """Cutting and opening gives the same documents in the same order; whose they are stays where
    they were cut (SYN-01)."""
    found = [
        document
        for info, data in cut("order", given_documents)
        for document in open_chunk(info, data)
    ]
    assert found == [one._replace(authors=b"") for one in given_documents]


def test_chunks_are_bounded_and_equal_documents_make_equal_chunks() -> None:
    """Many documents become several chunks near the target, named by what is in them."""
    many = [Kept(str(number), bytes([number % 7]) * 4_000) for number in range(700)]
    first = list(cut("order", many))
    assert [chunk.info for chunk in cut("order", many)] == [chunk.info for chunk in first]
    assert len(first) == 3
    sizes = [sum(len(one.state) for one in open_chunk(*chunk)) for chunk in first]
    assert all(size < CHUNK_BYTES_TARGET + 5_000 for size in sizes)


AUTHORS = [bytes([number]) * 8 for number in range(5)]


@given(
    st.lists(st.lists(st.lists(st.sampled_from(AUTHORS), max_size=2), max_size=6), max_size=3),
    st.sets(st.sampled_from(AUTHORS)),
)
def test_own_chunks_come_first_in_each_layer(
    layers: list[list[list[bytes]]], own: set[bytes]
) -> None:
    """Whoever asks gets the same chunks, in the same layers; in each those with sales of his own
    devices first and else as they were cut, and nobody is told of authors (SYN-01)."""
    infos = [
        [
            cut_one.info
            for number, authors in enumerate(layer)
            for cut_one in cut("order", [Kept(f"{at}.{number}", b"", b"".join(authors))])
        ]
        for at, layer in enumerate(layers)
    ]
    made = Manifest(
        "ab" * 16,
        1,
        len(infos),
        ZERO,
        ZERO,
        (),
        tuple(Layer(at, at + 1, tuple(layer)) for at, layer in enumerate(infos)),
    )
    nodes = {node.hex() for node in own}
    given_out = made.for_nodes(nodes)
    for layer, found in zip(infos, given_out.layers, strict=True):
        mine = [one.sha256 for one in layer if nodes & set(one.authors)]
        others = [one.sha256 for one in layer if not nodes & set(one.authors)]
        assert [one.sha256 for one in found.chunks] == mine + others
    assert b"authors" not in encode_manifest(given_out)


def test_a_chunk_has_so_many_authors() -> None:
    """Many devices that sold little are spread over chunks, so that the manifest says of each chunk
    in few words whose it is."""
    many = [Kept(str(number), b"", number.to_bytes(8, "big")) for number in range(600)]
    found = [chunk.info for chunk in cut("order", many)]
    assert [one.count for one in found] == [CHUNK_AUTHORS_MAX, CHUNK_AUTHORS_MAX, 88]
    assert found[2].authors[0] == (512).to_bytes(8, "big").hex()


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


def test_what_the_frozen_documents_of_a_test_are() -> None:
    """The forger below can also say the truth."""
    (document,) = open_chunk(*forged([FORMAT, "order", frozen([["1", b"x"]])]))
    assert document == Kept("1", b"x")


@pytest.mark.parametrize(
    "body",
    [
        [FORMAT - 1, "order", [["1", b"x"]]],
        [FORMAT + 1, "order", frozen([["1", b"x"]])],
        [FORMAT, "customer", frozen([["1", b"x"]])],
        [FORMAT, "order", frozen([])],
        [FORMAT, "order", frozen([["1", "text"]])],
        [FORMAT, "order", frozen([[1, b"x"]])],
        [FORMAT, "order", [["1", b"x"]]],
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


@pytest.mark.parametrize("told", [b'"format":1', b'"format":3', b'"form":2', b'"format":"2"'])
def test_a_manifest_of_another_format_is_refused(told: bytes) -> None:
    """Chunks of a format that is unknown here, or of the first one, which had no number, are not
    asked for: the log brings what they hold (wire-protocol.md §12)."""
    data = encode_manifest(manifest((0, 10)))
    assert data.count(b'"format":2') == 1
    with pytest.raises(Malformed):
        decode_manifest(data.replace(b'"format":2', told))


@given(st.binary(max_size=300))
def test_garbage_is_no_manifest(data: bytes) -> None:
    """Whatever bytes come instead of a manifest, the answer is Malformed."""
    with pytest.raises(Malformed):
        decode_manifest(data)


def test_an_endless_manifest_is_refused() -> None:
    """The bound is looked at before anything is decoded."""
    with pytest.raises(Malformed, match="too large"):
        decode_manifest(b" " * (MANIFEST_BYTES_MAX + 1))
