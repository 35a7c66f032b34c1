"""Everything that can happen to connections, in any order, and what must hold afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sync.world import Journal, Link, World, device_id

TEN_YEARS_MS = 10 * 365 * 86_400_000


class Chaos:
    """One seed's history of three devices and perhaps a clone."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.world = World()
        self.journals = [
            Journal(device_id(number), self.chance.choice([0, 0, 5_000, TEN_YEARS_MS]))
            for number in (1, 2, 3)
        ]
        self.said: list[bytes] = []
        self.acts: list[Callable[[], None]] = []
        weights: dict[Callable[[], None], int] = {
            self.move: 60,
            self.write: 12,
            self.connect: 10,
            self.hint: 6,
            self.lose_hint: 4,
            self.drop: 3,
            self.spoil: 2,
            self.double_up: 2,
            self.double_down: 1,
            self.clone: 1,
        }
        for act, weight in weights.items():
            self.acts += [act] * weight

    def run(self) -> None:
        for _ in range(self.chance.randrange(20, 400)):
            self.world.now_ms += self.chance.choice([0, 1, 40])
            self.world.links = [link for link in self.world.links if link.open or link.server_jobs]
            self.chance.choice(self.acts)()

    @property
    def link(self) -> Link | None:
        return self.chance.choice(self.world.links) if self.world.links else None

    def connected(self, journal: Journal) -> bool:
        return any(link.journal is journal for link in self.world.links if link.open)

    def move(self) -> None:
        """A frame arrives, or an effect is performed."""
        if (link := self.link) and (moves := self.world.moves(link)):
            self.chance.choice(moves)()

    def write(self) -> None:
        journal = self.chance.choice(self.journals)
        self.said.append(b"said %d" % len(self.said))
        journal.write(self.world.now_ms, self.said[-1])
        for link in self.world.links:
            if link.journal is journal:
                self.world.device_does(link, link.device.offer(self.world.device_ms(link)))

    def spoil(self) -> None:
        self.chance.choice(self.journals).spoil(b"\xc1 %d" % self.chance.randrange(1 << 30))

    def connect(self) -> None:
        journal = self.chance.choice(self.journals)
        if not self.connected(journal):
            self.world.connect(journal)

    def drop(self) -> None:
        if link := self.link:
            self.world.drop(link)

    def double_up(self) -> None:
        if (link := self.link) and link.up:
            link.up.appendleft(link.up[0])

    def double_down(self) -> None:
        if (link := self.link) and link.down:
            link.down.appendleft(link.down[0])

    def hint(self) -> None:
        if self.world.hints:
            self.world.hints.rotate(self.chance.randrange(3))
            self.world.hint()

    def lose_hint(self) -> None:
        if self.world.hints:
            del self.world.hints[self.chance.randrange(len(self.world.hints))]

    def clone(self) -> None:
        """Somebody copies a device that is not connected, once."""
        if len(self.journals) == 3 and not self.connected(self.journals[0]):
            self.journals.append(copy.deepcopy(self.journals[0]))

    def heal(self) -> None:
        """Nothing breaks any more."""
        for link in list(self.world.links):
            self.world.drop(link)
        self.world.hints.clear()
        for _ in range(3):
            self.world.exchange(*self.journals)
            for link in self.world.links:
                hinted = link.server.hint(self.world.position, self.world.now_ms)
                self.world.server_does(link, hinted)
            self.world.settle()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_everything_arrives_exactly_once_whatever_happens(seed: int) -> None:
    """Any interleaving, drops at any frame, doubled frames, lost hints, restarts, wrong clocks and
    a clone: at the end every fact stands in the log once and all replicas are equal
    (I-1, I-2, I-3, I-10, SYN-23)."""
    chaos = Chaos(seed)
    chaos.run()
    chaos.heal()
    world = chaos.world
    assert sorted(world.payloads()) == sorted(chaos.said)
    for journal in chaos.journals:
        assert journal.base == world.held
        assert journal.cursor == world.position
        assert journal.answered_seq == len(journal.own)
