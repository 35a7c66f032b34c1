"""W9: finding what differs between two sets: rounds, bytes, and processor time of each side.

    python -m benchmarks.reconcile_sets [--short]

The floor is one fingerprint of the whole set by reading every id: what a side without sums would
pay for each question. Beside the bytes stands what sending all ids would take. Differences lie
anywhere, half of them on each side.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from hashlib import sha256
from statistics import median
from time import process_time
from typing import NamedTuple

from benchmarks.orders import order_events
from replica.device.chain import Author, Head
from replica.events.event import AccountId, DeviceId
from replica.events.record import Origin, Segment, encode_record
from replica.sync.reconcile import Initiator, Item, ItemSet, Responder
from replica.sync.reconcile.sets import event_items

SIZES, SIZES_SHORT = (10_000, 100_000, 1_000_000), (10_000, 100_000)
# Of the large set a tenth takes minutes, and no other way of asking would take less.
DIFFERENCES_MAX = 10_000
FIRST_TIME = 1_700_000_000
PER_TIME = 3


class _Cost(NamedTuple):
    rounds: int
    asked_bytes: int
    answered_bytes: int
    asking_ms: float
    answering_ms: float


def exchange(asking: Initiator, answering: Responder, differences: int) -> _Cost:
    """One whole exchange; it has to find as many differences as there are."""
    asking_s = answering_s = 0.0
    asked = answered = found = 0
    start = process_time()
    message: bytes | None = asking.initiate()
    asking_s += process_time() - start
    while message is not None:
        asked += len(message)
        start = process_time()
        reply = answering.reconcile(message).reply
        answering_s += process_time() - start
        assert reply is not None
        answered += len(reply)
        start = process_time()
        message, have, need = asking.reconcile(reply)
        asking_s += process_time() - start
        found += len(have) + len(need)
    assert found == differences
    return _Cost(asking.rounds, asked, answered, 1e3 * asking_s, 1e3 * answering_s)


def items_of(count: int) -> list[Item]:
    """Some items in each second, the same in every run."""
    return [
        Item(FIRST_TIME + number // PER_TIME, sha256(b"%d" % number).digest())
        for number in range(count)
    ]


def scan_ms(items: Sequence[Item]) -> float:
    """One fingerprint without sums."""
    start = process_time()
    total = sum(int.from_bytes(item.id, "little") for item in items) % 2**256
    sha256(total.to_bytes(32, "little")).digest()
    return 1e3 * (process_time() - start)


def measure(count: int, rounds: int) -> dict[str, object]:
    """Every number of differences that W9 has for sets of ``count`` items."""
    items = items_of(count)
    start = process_time()
    here = ItemSet(items)
    build_ms = 1e3 * (process_time() - start)
    there = ItemSet(items)
    floor_ms = median(scan_ms(items) for _ in range(rounds))
    scenarios = {}
    for differences in (0, 10, 1_000, count // 10):
        if differences > DIFFERENCES_MAX:
            continue
        chosen = random.Random(differences).sample(items, differences)
        missing = ((here, chosen[: differences // 2]), (there, chosen[differences // 2 :]))
        for held, some in missing:
            for one in some:
                held.discard(*one)
        cost = _median(
            [exchange(Initiator(here), Responder(there), differences) for _ in range(rounds)]
        )
        scenarios[str(differences)] = {
            **cost._asdict(),
            "bytes": cost.asked_bytes + cost.answered_bytes,
            "part_of_all_ids": round((cost.asked_bytes + cost.answered_bytes) / (32 * count), 5),
            "answering_to_scan": round(cost.answering_ms / floor_ms, 3),
        }
        for held, some in missing:
            held.update(some)
    return {"build_ms": round(build_ms), "scan_ms": round(floor_ms, 1), "differences": scenarios}


def _median(costs: Sequence[_Cost]) -> _Cost:
    return costs[0]._replace(
        asking_ms=round(median(one.asking_ms for one in costs), 1),
        answering_ms=round(median(one.answering_ms for one in costs), 1),
    )


def read_per_s(events: int) -> int:
    """Events a second that become items out of stored segments: the first question about a log."""
    author = Author(AccountId(bytes(16)), DeviceId(bytes(range(16))))
    now_ms = time.time_ns() // 1_000_000
    made = order_events(author, Head(1), events, now_ms, random.Random(1))
    records = b"".join(encode_record(one.data, None, 0) for one in made)
    segment = Segment(1, events, bytes(32), author.device, 1, Origin.DEVICE, now_ms, records)
    start = process_time()
    ItemSet(event_items([segment]))
    return round(events / (process_time() - start))


def run(*, short: bool) -> dict[str, object]:
    """All sizes, one after the other."""
    sizes, rounds = (SIZES_SHORT, 3) if short else (SIZES, 5)
    return {
        "read_per_s": read_per_s(20_000),
        "sizes": {str(size): measure(size, rounds) for size in sizes},
    }


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="without the largest set")
    print(json.dumps(run(short=parser.parse_args().short), indent=1))


if __name__ == "__main__":
    main()
