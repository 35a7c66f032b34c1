"""What a device with a scope fetches instead of the log: pages of documents (wire-protocol.md §14).

A page holds the documents in scope that changed after a position, oldest change first, up to
``through``. The last page, whose ``through`` is ``position``, also says what the scope amounts to
there.

Who asks *ahead* gets what changed up to one position in the order of ``replica.crdt.priority``
instead, over as many pages as it takes, each with what the scope amounts to; ``through`` moves with
the last of them, and what changed meanwhile follows in the pages after it.
"""

from __future__ import annotations

import zlib
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from replica.errors import Malformed
from replica.limits import SAFE_INTEGER_MAX
from replica.sync.chunks import unpack
from replica.sync.messages import SectionDigest

FORMAT = 1
_COMPRESSION_LEVEL = 6
Count = Annotated[int, Meta(ge=0, le=SAFE_INTEGER_MAX)]


class Stated(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One document as the server has it."""

    type: str
    id: str
    state: bytes


class Page(msgspec.Struct, frozen=True, array_like=True):
    """``everything``: the scope has no bounds, so the log can serve this device again."""

    format: int
    version: Count  # of the scope that this holds for
    everything: bool
    position: Count
    through: Count
    documents: tuple[Stated, ...]
    sections: tuple[SectionDigest, ...] = ()  # of all in scope; with the last page, and ahead
    ahead: str = ""  # how far pages ahead are; empty when they are over

    @property
    def last(self) -> bool:
        """Whether nothing follows, as far as the server knew."""
        return self.through == self.position


class Ahead(NamedTuple):
    """How far pages ahead are: all up to ``rank`` and, of that, up to position ``at`` was given of
    what had changed by ``position``; 0 for none yet."""

    position: int = 0
    rank: int = 0
    at: int = 0

    def __str__(self) -> str:
        return f"{self.position}.{self.rank}.{self.at}"


def read_ahead(text: str) -> Ahead:
    """Raises ``Malformed`` for what no page said, and is not the ``0`` of who begins."""
    parts = text.split(".")
    if parts == ["0"]:
        return Ahead()
    if len(parts) != 3 or not all(part.isdecimal() and len(part) < 17 for part in parts):
        raise Malformed("ahead: not what a page said")
    return Ahead(*map(int, parts))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Page).decode


def encode_page(page: Page) -> bytes:
    """Deflated in the zlib format."""
    return zlib.compress(_encode(page), _COMPRESSION_LEVEL)


def decode_page(data: bytes) -> Page:
    """Raises ``Malformed`` for anything else. Memory stays within ``CHUNK_RAW_BYTES_MAX``."""
    page = unpack("page", data, _decode)
    if page.format != FORMAT or page.through > page.position:
        raise Malformed("not a page of a format that is known here")
    return page
