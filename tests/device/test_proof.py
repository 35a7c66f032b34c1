"""The proof: two digests are compared only when both are about the same position."""

from __future__ import annotations

import pytest

from replica.crdt.digest import SectionTotal
from replica.device.proof import Ask, Level, Proof, Proved
from replica.limits import PROOF_ASKS_MAX
from replica.sync.messages import Digest, SectionDigest

OURS = (SectionTotal("order", 2, bytes(32)),)


def theirs(position: int, count: int = 2) -> Digest:
    return Digest(position, (SectionDigest("order", count, bytes(32)),))


def level(cursor: int, *, pending: int = 0, reach: int = 0) -> Level:
    return Level(cursor, pending, reach, OURS)


@pytest.mark.parametrize("at", [level(5, pending=1), level(5, reach=6)])
def test_nothing_is_asked_before_everything_is_in(at: Level) -> None:
    """Unsent events, or own events ahead of the cursor, make a digest meaningless (§7)."""
    assert Proof().next(at) is None


@pytest.mark.parametrize(("count", "equal"), [(2, True), (3, False)])
def test_same_position_decides(count: int, equal: bool) -> None:
    """At the same position the sections are equal or they are not (SYN-03)."""
    proof = Proof()
    assert proof.next(level(5)) == Ask(0)
    assert proof.next(level(5)) is None
    proof.answered(theirs(5, count))
    assert proof.next(level(5)) == Proved(equal, 5)


def test_device_behind_catches_up_first() -> None:
    """The server is ahead: the device waits until it has taken in the same."""
    proof = Proof()
    proof.next(level(5))
    proof.answered(theirs(9))
    assert proof.next(level(7)) is None
    assert proof.next(level(9)) == Proved(equal=True, position=9)


def test_server_that_moved_on_is_asked_again() -> None:
    """The device passed the position of the answer: it asks again, a bounded number of times."""
    proof = Proof()
    asked = [proof.next(level(5))]
    for position in range(6, 6 + PROOF_ASKS_MAX):
        proof.answered(theirs(position - 1))
        asked.append(proof.next(level(position)))
    assert asked[:3] == [Ask(0), Ask(6), Ask(7)]
    assert asked[-1] == Proved(equal=False, position=0)


def test_new_work_interrupts_the_proof() -> None:
    """An order written meanwhile is sent first."""
    proof = Proof()
    proof.next(level(5))
    proof.answered(theirs(5))
    assert proof.next(level(5, pending=1)) is None
    assert proof.next(level(5)) == Proved(equal=True, position=5)
