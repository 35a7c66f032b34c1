"""One example of every frame, and the file of test vectors that is made of them.

``python -m tests.sync.samples`` writes ``tests/vectors/frames.json``; a test compares it. A client
in another language decodes ``hex``, compares with ``frame``, encodes again and compares the bytes.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from replica.events.clock import make_stamp
from replica.events.event import GENESIS, Event, encode_event
from replica.events.record import Segment, encode_record, extend_chain
from replica.sync import messages as m
from replica.sync.server_peer import LIMITS

PATH = Path(__file__).parent.parent / "vectors" / "frames.json"

ACCOUNT = bytes.fromhex("00112233445566778899aabbccddeeff")
DEVICE = bytes.fromhex("0123456789abcdef0123456789abcdef")
LOG_ID = bytes.fromhex("f0e1d2c3b4a5968778695a4b3c2d1e0f")
MS = 1_700_000_000_000


def _event(seq: int, prev: bytes, payload: bytes) -> bytes:
    stamp = make_stamp(MS + seq, 0, DEVICE[8:])
    return encode_event(
        Event(1, ACCOUNT, DEVICE, 1, seq, prev, stamp, "customer.deleted", 1, (), payload)
    )


FIRST = _event(1, GENESIS, msgspec.msgpack.encode({"customer": "c-1"}))
SECOND = _event(2, sha256(FIRST).digest(), msgspec.msgpack.encode({"customer": "c-2"}))
IDS = [sha256(data).digest() for data in (FIRST, SECOND)]
MERGE_STAMP = make_stamp(MS + 2, 1, DEVICE[8:])
CHAIN = extend_chain(GENESIS, IDS)
SEGMENT = Segment(
    first=1,
    count=2,
    chain=CHAIN,
    device=DEVICE,
    epoch=1,
    origin=1,
    received_ms=MS + 40,
    records=encode_record(FIRST, None, 0) + encode_record(SECOND, MERGE_STAMP, 1),
)

FRAMES: dict[str, m.Frame] = {
    "HELLO": m.Hello(
        version_min=1,
        version_max=1,
        token="a-device-token",
        account=ACCOUNT,
        device=DEVICE,
        epoch=1,
        head_seq=2,
        log_id=LOG_ID,
        generation=1,
        cursor=7,
        chain=sha256(b"chain at 7").digest(),
        sent_ms=MS,
        software="example/1.0",
        knows=("scope",),
    ),
    "WELCOME": m.Welcome(
        version=1,
        session=bytes(range(8)),
        log_id=LOG_ID,
        generation=1,
        position=9,
        resume_after=7,
        device_seq=0,
        device_hash=GENESIS,
        next_epoch=2,
        probe_sent_ms=MS + 20,
        limits=dict(LIMITS),
    ),
    "PROBE_REPLY": m.ProbeReply(probe_sent_ms=MS + 20, received_ms=MS + 5, sent_ms=MS + 5),
    "PROBE": m.Probe(probe_sent_ms=MS + 60_020, offset_ms=-25),
    "PUSH": m.Push(number=1, first_seq=1, events=(FIRST, SECOND)),
    "RESULT": m.Result(
        number=1,
        verdicts=(
            m.Verdict(m.Outcome.ACCEPTED, 2, first_position=10, received_ms=MS + 40),
            m.Verdict(m.Outcome.REFUSED, 1, code="malformed", detail="not an event"),
        ),
        decisions=(m.Decision(index=1, stamp=MERGE_STAMP, flags=1),),
    ),
    "EVENTS": m.Events(through=2, chain=CHAIN, segments=(SEGMENT,)),
    "CURSOR": m.Cursor(position=2),
    "GOODBYE": m.Goodbye(
        code="forked",
        message="epoch 1 has another event at seq 3; continue as 2",
        close_code=1008,
        next_epoch=2,
    ),
    "DIGEST_REQUEST": m.DigestRequest(position=0),
    "DIGEST": m.Digest(
        position=9, sections=(m.SectionDigest("customer", 3, sha256(b"sum").digest()),), pending=1
    ),
    "SYNC_REQUEST": m.SyncRequest(run="run-1"),
}


SHORTER: dict[str, m.Frame] = {"HELLO": msgspec.structs.replace(FRAMES["HELLO"], knows=())}
"""Frames as an older program says them: what they leave out at the end is as if it were empty."""


def shortened(frame: m.Frame) -> bytes:
    """The bytes of ``frame`` without its last field."""
    return msgspec.msgpack.encode(msgspec.msgpack.decode(m.encode_frame(frame))[:-1])


def readable(value: Any) -> Any:
    """Plain JSON: structs as objects, bytes as hex."""
    if isinstance(value, msgspec.Struct):
        return {name: readable(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (tuple, list)):
        return [readable(one) for one in value]
    return value


def vectors() -> dict[str, Any]:
    """What ``frames.json`` holds."""
    return {
        "events": [
            {"hex": data.hex(), "id": sha256(data).hexdigest(), "event": readable(event)}
            for data in (FIRST, SECOND)
            for event in [msgspec.msgpack.decode(data, type=Event)]
        ],
        "chain": {"before": GENESIS.hex(), "ids": [i.hex() for i in IDS], "after": CHAIN.hex()},
        "frames": [
            {"name": name, "hex": m.encode_frame(frame).hex(), "frame": readable(frame)}
            for name, frame in FRAMES.items()
        ],
        "shorter": [
            {"name": name, "hex": shortened(frame).hex(), "frame": readable(frame)}
            for name, frame in SHORTER.items()
        ],
    }


def text() -> str:
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
