"""Chunks: documents in bulk, for first syncs and for long absences (wire-protocol.md §12).

A *chunk* is a run of documents of one section with their states, frozen
(:mod:`replica.sync.frozen`), compressed, and named by the SHA-256 of its bytes. A *layer* is the
chunks of every document that changed after one position, as it was at another. A *manifest* lists
the layers that lead from an empty replica to a position.
A newer layer holds the newer state of a document that an older one holds too, so whoever takes
chunks in the order of the manifest, replacing what it has, ends with the documents as they are at
that position; the log goes on from there.

Pure: bytes in, bytes out. Who stores and who fetches is elsewhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Container, Iterable, Iterator
from hashlib import sha256
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from replica.crdt.priority import nodes_in
from replica.errors import Malformed
from replica.limits import (
    CHUNK_AUTHORS_MAX,
    CHUNK_BYTES_TARGET,
    CHUNK_RAW_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    SAFE_INTEGER_MAX,
)
from replica.sync.frozen import Frozen, Writings, freeze, thaw

FORMAT: Final = 2
_COMPRESSION_LEVEL = 6
_COMPRESSION_MEMORY = 6  # short blocks: each column gets a code of its own

T = TypeVar("T")
Count = Annotated[int, Meta(ge=0, le=SAFE_INTEGER_MAX)]
Hex16 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Section = Annotated[str, Meta(min_length=1, max_length=64)]


class Kept(NamedTuple):
    """One document as replicas keep it: ``state`` is what ``Document.encode`` gave. ``authors``
    are nodes of devices, end to end; they stay with who cuts."""

    id: str
    state: bytes
    authors: bytes = b""


class ChunkInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a chunk is, without its bytes. ``authors`` are the nodes of the devices whose sales it
    holds, in hexadecimal; devices are not told."""

    sha256: Hex32
    bytes: Count
    section: Section
    count: Count
    authors: tuple[str, ...] = ()


class Layer(msgspec.Struct, frozen=True):
    """Every document that changed after ``after``, with its state at ``through``."""

    after: Count
    through: Count
    chunks: tuple[ChunkInfo, ...]


class SectionLine(msgspec.Struct, frozen=True):
    """What a section amounts to when everything is taken in (wire-protocol.md §7)."""

    section: Section
    count: Count
    digest: Hex32


class Manifest(msgspec.Struct, frozen=True):
    """The way to ``position`` of one log. Layers are in order and leave no gap between them."""

    log_id: Hex16
    generation: Count
    position: Count
    chain: Hex32
    fingerprint: Hex32  # of the catalogue that the states were folded with
    sections: tuple[SectionLine, ...]
    layers: tuple[Layer, ...]
    format: Count = FORMAT  # of the chunks

    def chunks(self) -> tuple[ChunkInfo, ...]:
        """All chunks in the order in which they have to be taken."""
        return tuple(chunk for layer in self.layers for chunk in layer.chunks)

    def after(self, cursor: int) -> Manifest:
        """What a replica that stands at ``cursor`` lacks of this."""
        wanted = tuple(layer for layer in self.layers if layer.through > cursor)
        return msgspec.structs.replace(self, layers=wanted)

    def for_nodes(self, nodes: Container[str]) -> Manifest:
        """This for a device whose user sells with devices of ``nodes`` (hexadecimal): in each layer
        the chunks that hold his sales come first, and nobody's authors are told."""

        def own(chunk: ChunkInfo) -> bool:
            return any(node in nodes for node in chunk.authors)

        def ordered(chunks: Iterable[ChunkInfo]) -> tuple[ChunkInfo, ...]:
            found = sorted(chunks, key=lambda chunk: not own(chunk))
            return tuple(msgspec.structs.replace(chunk, authors=()) for chunk in found)

        layers = (Layer(one.after, one.through, ordered(one.chunks)) for one in self.layers)
        return msgspec.structs.replace(self, layers=tuple(layers))


class Chunk(NamedTuple):
    """A chunk with its bytes, as they are stored and sent."""

    info: ChunkInfo
    data: bytes


_Body = tuple[int, str, Frozen]
_encode_body = msgspec.msgpack.Encoder().encode
_decode_body = msgspec.msgpack.Decoder(_Body).decode


def cut(
    section: str, documents: Iterable[Kept], writings: Writings | None = None
) -> Iterator[Chunk]:
    """Chunks of about ``CHUNK_BYTES_TARGET`` bytes of states or ``CHUNK_AUTHORS_MAX`` authors,
    whichever is reached first; none for no documents. Documents that were written one after the
    other belong one after the other: with ``writings`` the ids of their events cost nothing then.

    Raises ``OverflowError`` for a document that no chunk can hold: serve the log instead.
    """
    batch: list[Kept] = []
    authors: set[str] = set()
    size = 0
    for document in documents:
        size += len(document.state) + len(document.id)
        batch.append(document)
        authors.update(node.hex() for node in nodes_in(document.authors))
        if size >= CHUNK_BYTES_TARGET or len(authors) >= CHUNK_AUTHORS_MAX:
            yield _chunk(section, batch, authors, writings)
            batch, authors, size = [], set(), 0
    if batch:
        yield _chunk(section, batch, authors, writings)


def _chunk(
    section: str, documents: list[Kept], authors: Iterable[str], writings: Writings | None
) -> Chunk:
    frozen = freeze(section, [(one.id, one.state) for one in documents], writings)
    raw = _encode_body((FORMAT, section, frozen))
    if len(raw) > CHUNK_RAW_BYTES_MAX:
        raise OverflowError(f"a document of {section} is too large for a chunk")
    deflate = zlib.compressobj(
        _COMPRESSION_LEVEL, memLevel=_COMPRESSION_MEMORY, strategy=zlib.Z_FILTERED
    )
    data = deflate.compress(raw) + deflate.flush()
    name = sha256(data).hexdigest()
    info = ChunkInfo(name, len(data), section, len(documents), tuple(sorted(authors)))
    return Chunk(info, data)


def inflate_chunk(info: ChunkInfo, data: bytes) -> Frozen:
    """What ``data`` says, proved to be the chunk that ``info`` names; :func:`open_chunk` goes on.

    Raises ``Malformed`` for other bytes, and for bytes of the right hash that are no chunk. Memory
    stays within ``CHUNK_RAW_BYTES_MAX`` whatever the bytes say.
    """
    if len(data) != info.bytes or sha256(data).hexdigest() != info.sha256:
        raise Malformed("the chunk is not the one that was asked for")
    frozen: Frozen
    number, section, frozen = unpack("chunk", data, _decode_body)
    if (number, section, frozen.count) != (FORMAT, info.section, info.count):
        raise Malformed("the chunk holds something else than its manifest says")
    return frozen


def open_chunk(info: ChunkInfo, data: bytes) -> list[Kept]:
    """The documents of ``data``, proved to be the chunk that ``info`` names.

    Raises ``Malformed`` as :func:`inflate_chunk` does. Documents take a few times
    ``CHUNK_RAW_BYTES_MAX`` at most, whatever the bytes say.
    """
    return [Kept(*one) for one in thaw(info.section, inflate_chunk(info, data))]


def unpack(what: str, data: bytes, decode: Callable[[bytes], T]) -> T:
    """What ``decode`` makes of ``data``, deflated in the zlib format. Raises ``Malformed`` for
    anything else. Memory stays within ``CHUNK_RAW_BYTES_MAX``."""
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(data, CHUNK_RAW_BYTES_MAX)
        if not inflate.eof or inflate.unused_data:
            raise Malformed(f"the {what} does not end where its bytes do")
        return decode(raw)
    except (zlib.error, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(f"not a {what}: {error}") from error


class _Numbered(msgspec.Struct):
    format: Count


def encode_manifest(manifest: Manifest) -> bytes:
    """JSON, as it is stored and sent."""
    return msgspec.json.encode(manifest)


def decode_manifest(data: bytes) -> Manifest:
    """Raises ``Malformed`` for anything else, for chunks of a format that is unknown here, and for
    layers that do not follow each other."""
    if len(data) > MANIFEST_BYTES_MAX:
        raise Malformed("the manifest is too large")
    try:
        if msgspec.json.decode(data, type=_Numbered).format != FORMAT:
            raise Malformed("the chunks are of another format")
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(f"not a manifest: {error}") from error
    ends = [layer.through for layer in manifest.layers]
    starts = [layer.after for layer in manifest.layers]
    if not ends or starts[1:] != ends[:-1] or ends[-1] != manifest.position:
        raise Malformed("the layers of the manifest do not lead to its position")
    if any(layer.after >= layer.through for layer in manifest.layers):
        raise Malformed("a layer of the manifest leads nowhere")
    return manifest
