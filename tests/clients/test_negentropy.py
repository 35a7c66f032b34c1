"""Another implementation of Negentropy V1 asks, ours answers (nostr-tools, in node)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from replica.limits import RECONCILE_FRAME_BYTES_MAX
from replica.sync.reconcile import Item, ItemSet, Responder
from tests.clients.nodes import Node
from tests.sync.test_reconcile_items import ident

SEEDS = 40
TIMES_MAX = 2_000_000_000  # it counts seconds in 31 bits
ROUNDS_MAX = 500


@pytest.fixture(scope="module")
def asking() -> Iterator[Node]:
    with Node(Path(__file__).parent / "negentropy.mjs") as node:
        yield node


def two_sets(chance: Random) -> tuple[set[Item], set[Item]]:
    """Up to some thousand items at few or many times; some, or a whole stretch, on one side."""
    count = chance.choice([0, 1, 40, 700, 3_000])
    times = sorted(chance.choices(range(chance.choice([1, 50, TIMES_MAX])), k=count))
    items = [Item(time, ident(number)) for number, time in enumerate(times)]
    sides = []
    for _ in range(2):
        if chance.random() < 0.3 and items:
            start = chance.randrange(count)
            gone = set(range(start, start + chance.choice([50, count])))
        else:
            gone = set(chance.choices(range(count), k=chance.randrange(12))) if items else set()
        sides.append({item for number, item in enumerate(items) if number not in gone})
    return sides[0], sides[1]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_another_implementation_finds_what_differs(asking: Node, seed: int) -> None:
    """With any two sets and any frame limits on either side, the other implementation learns from
    our answers exactly what only it and what only we have (§13.1)."""
    chance = Random(seed)
    here, there = two_sets(chance)
    theirs = chance.choice([4_096, 9_000, 60_000])
    ours = chance.choice([size for size in (9_000, RECONCILE_FRAME_BYTES_MAX) if size >= theirs])
    answering = Responder(ItemSet(there), frame_bytes=ours)
    given = [[item.time, item.id.hex()] for item in here]
    said = asking.ask("begin", items=given, frame=theirs)
    have: set[str] = set()
    need: set[str] = set()
    rounds = 0
    while said["message"] is not None:
        answer = answering.reconcile(bytes.fromhex(said["message"])).reply
        assert answer is not None
        assert len(answer) <= ours
        said = asking.ask("answer", message=answer.hex())
        have.update(said["have"])
        need.update(said["need"])
        rounds += 1
        assert rounds < ROUNDS_MAX, "the exchange does not come to an end"
    assert have == {item.id.hex() for item in here - there}
    assert need == {item.id.hex() for item in there - here}
