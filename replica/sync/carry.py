"""Work carried by hand: the file a device writes when no network will do (docs/carry-file.md).

A file is a header that anybody may read, the frames of the sync protocol compressed, and two sums:
one that finds damage, and a seal that only the device and its server can make. A receipt comes
back in the same form and holds the door's answers.

Pure: bytes in, values out. A file is decoded whole or not at all, so of a damaged one nothing is
ever taken.
"""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from replica.errors import Malformed, TooLarge, UpgradeRequired
from replica.limits import (
    CARRY_BODY_BYTES_MAX,
    CARRY_FILE_BYTES_MAX,
    FRAME_BYTES_MAX,
    PUSH_BYTES_MAX,
    PUSH_BYTES_TARGET,
    PUSH_EVENTS_MAX,
)
from replica.sync.messages import (
    Count,
    Decision,
    Hash,
    MaybeHash,
    MaybeUuid,
    Millis,
    Push,
    Uuid,
    Verdict,
    Words,
)

MAGIC = b"\x89RPLC\r\n\x1a"
"""No text begins like this, and a transfer that bends line ends or strips bits breaks it."""
EPOCH_MAX = 2**31 - 1
FORMAT = 1
WORK, RECEIPT = 1, 2
SUM_BYTES = 32
_LENGTH_BYTES = 4
_HEADER_LENGTH_BYTES = 2


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What a file says about itself, readable without decompressing. It is not a secret."""

    format: Count
    sort: Count  # WORK or RECEIPT
    account: Uuid
    device: Uuid
    made_ms: Millis  # by the clock of who wrote the file
    software: Words
    events: Count
    log_id: MaybeUuid = b""  # of a receipt: the log whose positions it holds; of work: if known
    generation: Count = 0
    answers: MaybeHash = b""  # of a receipt: the last 32 bytes of the file it answers


class Chain(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """The PUSH frames that follow are of this epoch."""

    epoch: Annotated[int, Meta(ge=0, le=EPOCH_MAX)]


class Answered(msgspec.Struct, frozen=True, array_like=True, tag=51):
    """What became of the events from ``first_seq`` on. ``head`` is the id of the last of them, and
    by the chain of all before: a device takes answers only to events that it has itself."""

    epoch: Annotated[int, Meta(ge=0, le=EPOCH_MAX)]
    first_seq: Count
    head: Hash
    verdicts: tuple[Verdict, ...]
    decisions: tuple[Decision, ...] = ()

    @property
    def count(self) -> int:
        return sum(verdict.count for verdict in self.verdicts)


class Part(NamedTuple):
    """Own events of one epoch, without a gap."""

    epoch: int
    first_seq: int
    events: tuple[bytes, ...]


class Work(NamedTuple):
    """A decoded file of work; each part fits into one push of the sync protocol."""

    header: Header
    parts: tuple[Part, ...]


class Receipt(NamedTuple):
    header: Header
    answers: tuple[Answered, ...]


_Frame = Chain | Push | Answered
_encoder = msgspec.msgpack.Encoder()
_header_decoder = msgspec.msgpack.Decoder(Header)
_frame_decoder: msgspec.msgpack.Decoder[_Frame] = msgspec.msgpack.Decoder(_Frame)


def file_key(token: str) -> bytes:
    """The key of the seal: the hash of the device's token, which is what the server keeps of it."""
    return sha256(token.encode()).digest()


# Writing -----------------------------------------------------------------------------------------


def encode_work(header: Header, chains: Sequence[Part], key: bytes) -> bytes:
    """A file of ``chains``, each of which may hold any number of events.

    Raises ``TooLarge`` when it would pass a bound of ``replica.limits``: then export less at once.
    """
    frames: list[_Frame] = []
    number = 0
    for chain in chains:
        frames.append(Chain(chain.epoch))
        for part in _pushes(chain):
            number += 1
            frames.append(Push(number, part.first_seq, part.events))
    return _encode(header, frames, key)


def encode_receipt(header: Header, answers: Sequence[Answered], key: bytes) -> bytes:
    """The file that turns the device's rows to synced."""
    return _encode(header, answers, key)


def _pushes(chain: Part) -> Iterator[Part]:
    """``chain`` in pieces that a push may hold."""
    events: list[bytes] = []
    size, first_seq = 0, chain.first_seq
    for data in chain.events:
        if events and (len(events) == PUSH_EVENTS_MAX or size + len(data) > PUSH_BYTES_TARGET):
            yield Part(chain.epoch, first_seq, tuple(events))
            first_seq += len(events)
            events, size = [], 0
        events.append(data)
        size += len(data)
    if events:
        yield Part(chain.epoch, first_seq, tuple(events))


def _encode(header: Header, frames: Sequence[_Frame], key: bytes) -> bytes:
    head = _encoder.encode(header)
    body = bytearray()
    for frame in frames:
        data = _encoder.encode(frame)
        body += len(data).to_bytes(_LENGTH_BYTES, "big") + data
    _bound("bytes of a carry file's frames", CARRY_BODY_BYTES_MAX, len(body))
    opened = MAGIC + len(head).to_bytes(_HEADER_LENGTH_BYTES, "big") + head + zlib.compress(body)
    sealed = opened + _seal(opened, key)
    whole = sealed + sha256(sealed).digest()
    _bound("bytes of a carry file", CARRY_FILE_BYTES_MAX, len(whole))
    return whole


def _seal(opened: bytes, key: bytes) -> bytes:
    return hmac.digest(key, opened, "sha256")


# Reading -----------------------------------------------------------------------------------------


def read_header(data: bytes) -> Header:
    """Who a file is from. Raises ``Malformed`` for damage and for what is no carry file,
    ``TooLarge``, and ``UpgradeRequired`` for one of a later format."""
    return _open(data)[0]


def is_sealed(data: bytes, key: bytes) -> bool:
    """Whether whoever wrote ``data`` had ``key``. Only for files that were read before."""
    opened, seal = data[: -2 * SUM_BYTES], data[-2 * SUM_BYTES : -SUM_BYTES]
    return hmac.compare_digest(_seal(opened, key), seal)


def file_sum(data: bytes) -> bytes:
    """What names a file: its last 32 bytes."""
    return data[-SUM_BYTES:]


def decode_work(data: bytes) -> Work:
    """The work in a file. Raises as :func:`read_header`; then nothing of it may be taken."""
    header, frames = _decode(data, WORK)
    parts: list[Part] = []
    epoch, expected = None, 0
    for frame in frames:
        match frame:
            case Chain():
                epoch, expected = frame.epoch, 0
            case Push() if epoch is not None:
                if frame.number != len(parts) + 1 or expected not in {0, frame.first_seq}:
                    raise Malformed("carry file: a push is missing")
                _check_push(frame)
                parts.append(Part(epoch, frame.first_seq, frame.events))
                expected = frame.first_seq + len(frame.events)
            case _:
                raise Malformed("carry file: a frame that no work begins with")
    if sum(len(part.events) for part in parts) != header.events:
        raise Malformed("carry file: it does not hold the events it names")
    return Work(header, tuple(parts))


def decode_receipt(data: bytes) -> Receipt:
    """The answers in a receipt. Raises as :func:`read_header`."""
    header, frames = _decode(data, RECEIPT)
    answers = [frame for frame in frames if isinstance(frame, Answered)]
    if len(answers) != len(frames) or not all(answer.first_seq for answer in answers):
        raise Malformed("carry file: a receipt holds answers only")
    if sum(answer.count for answer in answers) != header.events:
        raise Malformed("carry file: it does not hold the answers it names")
    return Receipt(header, tuple(answers))


def _check_push(push: Push) -> None:
    if not push.first_seq or not 1 <= len(push.events) <= PUSH_EVENTS_MAX:
        raise Malformed("carry file: a push holds 1 to 500 events from seq 1 on")
    size = sum(map(len, push.events))
    if len(push.events) > 1:
        _bound("bytes of a push", PUSH_BYTES_MAX, size)


def _decode(data: bytes, sort: int) -> tuple[Header, list[_Frame]]:
    header, body = _open(data)
    if header.sort != sort:
        found = {WORK: "work to import", RECEIPT: "a receipt"}.get(header.sort, "something else")
        raise Malformed(f"the file holds {found}")
    return header, list(_frames(_inflate(body)))


def _open(data: bytes) -> tuple[Header, bytes]:
    """Header and compressed body of a file without damage."""
    _bound("bytes of a carry file", CARRY_FILE_BYTES_MAX, len(data))
    start = len(MAGIC) + _HEADER_LENGTH_BYTES
    if not data.startswith(MAGIC) or len(data) < start + 2 * SUM_BYTES:
        raise Malformed("this is no carry file, or only the beginning of one")
    if sha256(data[:-SUM_BYTES]).digest() != file_sum(data):
        raise Malformed(
            "the file is damaged or was cut short; nothing of it was taken",
            hint="copy it again from the device, or export it there again",
        )
    end = start + int.from_bytes(data[len(MAGIC) : start], "big")
    try:
        header = _header_decoder.decode(data[start:end])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(f"carry file: its header cannot be read: {error}") from error
    if header.format != FORMAT:
        raise UpgradeRequired(f"carry file of format {header.format}, {FORMAT} is known here")
    return header, data[end : -2 * SUM_BYTES]


def _inflate(body: bytes) -> bytes:
    """Bounded, whatever the file claims: a small file may hold a flood."""
    inflater = zlib.decompressobj()
    try:
        frames = inflater.decompress(body, CARRY_BODY_BYTES_MAX)
    except zlib.error as error:
        raise Malformed(f"carry file: {error}") from error
    if inflater.unconsumed_tail:
        over = CARRY_BODY_BYTES_MAX + 1
        raise TooLarge("bytes of a carry file's frames", limit=CARRY_BODY_BYTES_MAX, actual=over)
    if not inflater.eof or inflater.unused_data:
        raise Malformed("carry file: its frames do not end where they should")
    return frames


def _frames(body: bytes) -> Iterator[_Frame]:
    at = 0
    while at < len(body):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(body[at:start], "big")
        if at > len(body) or start > len(body):
            raise Malformed("carry file: a frame is cut short")
        _bound("frame bytes", FRAME_BYTES_MAX, at - start)
        try:
            yield _frame_decoder.decode(body[start:at])
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise Malformed(f"carry file: a frame cannot be read: {error}") from error


def _bound(what: str, limit: int, actual: int) -> None:
    if actual > limit:
        raise TooLarge(what, limit=limit, actual=actual)
