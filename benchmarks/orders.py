"""Orders to push: sealed ones of two lines, whose events are about 300 bytes (performance.md)."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from replica.device.chain import Author, Fact, Head, Made, extend
from replica.events.ids import RANDOM_BYTES, make_id
from replica.events.kinds import encode_payload
from replica.events.money import content_total_minor
from replica.events.payloads import Content, OrderCommitted, SealedLine


def sealed_orders(count: int, now_ms: int, chance: random.Random) -> Iterator[OrderCommitted]:
    """``count`` different orders that pass every rule of the door."""
    for number in range(1, count + 1):
        lines = tuple(
            SealedLine(
                id=str(line),
                product=str(chance.randrange(10_000, 90_000)),
                qty_e3=1_000 * chance.randrange(1, 50),
                price_e4=100 * chance.randrange(1, 5_000),
            )
            for line in (1, 2)
        )
        content = Content(
            number=f"K7Q-{number:06}",
            customer=f"c-{chance.randrange(10_000, 20_000)}",
            currency="GBP",
            date="2026-05-04",
            delivery_date="2026-05-11",
            rep="Nancy Davolio",
            total_minor=0,
            lines=lines,
        )
        content = msgspec.structs.replace(content, total_minor=content_total_minor(content))
        order = make_id(now_ms, chance.randbytes(RANDOM_BYTES))
        yield OrderCommitted(order=order, content=content)


def order_events(
    author: Author, head: Head, count: int, now_ms: int, chance: random.Random
) -> list[Made]:
    """The next ``count`` events of a device, finished and signed into its chain."""
    facts = (Fact(*encode_payload(order)) for order in sealed_orders(count, now_ms, chance))
    return extend(author, head, facts, now_ms)
