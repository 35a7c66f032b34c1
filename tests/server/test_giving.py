"""Long work in a thread lets whoever waits for an answer go first."""

from __future__ import annotations

from replica.server.giving import REST_S, SLICE_S, Giving


class World:
    """A clock that moves by sleeping, and a door where somebody waits until ``until_s``."""

    busy = True

    def __init__(self, until_s: float) -> None:
        self.now_s = 100.0
        self.slept_s = 0.0
        self._until_s = self.now_s + until_s

    @property
    def waited_for(self) -> bool:
        return self.now_s < self._until_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.slept_s += seconds

    def giving(self) -> Giving:
        return Giving(self, monotonic_s=lambda: self.now_s, sleep=self.sleep)


def test_a_step_rests_until_nobody_waits_at_the_door() -> None:
    """After a slice of work a step waits for those who wait for an answer, and works on after that
    (performance.md W4)."""
    world = World(until_s=5 * SLICE_S)
    pause = world.giving()
    pause()
    assert world.slept_s == 0, "it has only just begun"
    world.now_s += SLICE_S
    pause()
    assert not world.waited_for
    assert 0 < world.slept_s <= 5 * SLICE_S
    slept_s = world.slept_s
    world.now_s += SLICE_S
    pause()
    assert world.slept_s == slept_s, "nobody waits any more"


def test_a_door_that_is_never_quiet_delays_a_step_by_no_more_than_its_rest() -> None:
    """However busy the door is, the read models go on (SYN-18, reliability I-21)."""
    world = World(until_s=1_000 * REST_S)
    pause = world.giving()
    for _ in range(1_000):
        world.now_s += SLICE_S
        pause()
    assert REST_S <= world.slept_s < REST_S + 2 * SLICE_S
