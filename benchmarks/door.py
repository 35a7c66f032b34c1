"""The door alone: events per second decided on one core, with nothing written anywhere.

    python -m benchmarks.door

The floor is what cannot be left out: hashing each event once and walking its envelope.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from hashlib import sha256
from statistics import median
from time import perf_counter

from benchmarks.orders import order_events
from replica.device.chain import Author, Head
from replica.events.clock import ZERO_STAMP
from replica.events.event import GENESIS, AccountId, DeviceId, decode_event
from replica.events.ports import DeviceHead
from replica.events.record import Origin
from replica.ingest import Context, judge

ACCOUNT = AccountId(bytes(16))
DEVICE = DeviceId(bytes(range(16)))
EPOCH = 1


def run(events: int, batch: int, rounds: int) -> dict[str, object]:
    """Medians of interleaved rounds over the same events."""
    now_ms = time.time_ns() // 1_000_000
    author = Author(ACCOUNT, DEVICE)
    made = order_events(author, Head(EPOCH), events, now_ms, random.Random(1))
    data = [one.data for one in made]
    batches = [data[first : first + batch] for first in range(0, events, batch)]
    floor = []
    door = []
    for _ in range(rounds):
        start = perf_counter()
        for one in data:
            sha256(one).digest()
            decode_event(one)
        floor.append(perf_counter() - start)
        head = DeviceHead(EPOCH, 0, GENESIS, ZERO_STAMP)
        context = Context(ACCOUNT, DEVICE, EPOCH, Origin.DEVICE, EPOCH + 1, 0, now_ms)
        start = perf_counter()
        for group in batches:
            judged = judge(context, head, group)
            assert judged.request is not None
            assert not judged.decisions, "the clocks agree"
            head = judged.request.after
        door.append(perf_counter() - start)
        assert head.hash == made[-1].id
    return {
        "events": events,
        "batch": batch,
        "event_bytes": round(sum(map(len, data)) / events),
        "floor_per_s": round(events / median(floor)),
        "door_per_s": round(events / median(door)),
        "ratio": round(median(floor) / median(door), 3),
    }


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps(run(options.events, options.batch, options.rounds)))


if __name__ == "__main__":
    main()
