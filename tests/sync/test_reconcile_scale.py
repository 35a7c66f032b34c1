"""Rounds and bytes of reconciliation at size, pinned: they are part of what is promised (W9)."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import NamedTuple

import pytest

from replica.sync.reconcile import Initiator, Item, ItemSet, Responder
from tests.sync.test_reconcile_exchange import Outcome, exchange
from tests.sync.test_reconcile_items import ident

FIRST_TIME = 1_700_000_000  # seconds, some items in each, as the events of a busy account have
PER_TIME = 3


class Pair(NamedTuple):
    """Two equal sets of ``size`` items, for one scenario after the other."""

    size: int
    here: ItemSet
    there: ItemSet

    def item(self, number: int) -> Item:
        return Item(FIRST_TIME + number // PER_TIME, ident(number))

    def reconcile(self, differences: int) -> tuple[Outcome, list[bytes], list[bytes]]:
        """With that many items missing, half of them on each side: the outcome, and what was
        missing there and here. The sets are equal again afterwards."""
        chosen = random.Random(differences).sample(range(self.size), differences)
        items = [self.item(number) for number in chosen]
        halves = items[: differences // 2], items[differences // 2 :]
        for held, missing in zip((self.here, self.there), halves, strict=True):
            assert all(held.discard(*item) for item in missing)
        outcome = exchange(Initiator(self.here), Responder(self.there))
        for held, missing in zip((self.here, self.there), halves, strict=True):
            assert all(held.add(*item) for item in missing)
        return outcome, sorted(one.id for one in halves[1]), sorted(one.id for one in halves[0])


def make_pair(count: int) -> Pair:
    empty = Pair(count, ItemSet(), ItemSet())
    here = ItemSet(map(empty.item, range(count)))
    return Pair(count, here, deepcopy(here))


@pytest.fixture(scope="module")
def million() -> Pair:
    # Some seconds to make, so one for all scenarios.
    return make_pair(1_000_000)


@pytest.fixture(scope="module")
def thousands() -> Pair:
    return make_pair(10_000)


PINNED = {0: (1, 1_327), 1: (2, 3_105), 10: (2, 18_057), 1_000: (10, 1_054_931)}


@pytest.mark.parametrize("differences", PINNED)
def test_a_million_events(million: Pair, differences: int) -> None:
    """With 0, 1, 10 and 1,000 differences: these rounds and bytes (issue 5: 4 rounds and 64 KB at
    10), every difference found and no other."""
    outcome, missing_there, missing_here = million.reconcile(differences)
    assert sorted(outcome.have) == missing_there
    assert sorted(outcome.need) == missing_here
    assert (outcome.rounds, outcome.size) == PINNED[differences]


PINNED_SMALL = {0: (1, 1_280), 1: (2, 1_692), 10: (2, 5_380), 1_000: (2, 168_168)}


@pytest.mark.parametrize("differences", PINNED_SMALL)
def test_ten_thousand_documents(thousands: Pair, differences: int) -> None:
    """What one device holds costs a few kilobytes to compare while little differs."""
    outcome, missing_there, missing_here = thousands.reconcile(differences)
    assert sorted(outcome.have) == missing_there
    assert sorted(outcome.need) == missing_here
    assert (outcome.rounds, outcome.size) == PINNED_SMALL[differences]
