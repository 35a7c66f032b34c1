"""Two machines joined by a link: what a device and a server do for each other."""

from __future__ import annotations

import copy
from hashlib import sha256

import pytest

from replica.events.event import AccountId
from replica.events.record import Flag, records
from replica.limits import CONFIRM_INTERVAL_MS
from replica.sync import effects as e
from replica.sync.messages import Outcome
from replica.sync.table import State
from tests.sync.world import (
    ACCOUNT,
    START_MS,
    Journal,
    RestoredLog,
    World,
    device_id,
    digest_of,
    effects_of,
)

TEN_YEARS_MS = 10 * 365 * 86_400_000


def a_device(number: int = 1, *, events: int = 0, skew_ms: int = 0) -> Journal:
    journal = Journal(device_id(number), skew_ms)
    for at in range(events):
        journal.write(START_MS, b"%d/%d" % (number, at))
    return journal


def test_a_device_pushes_its_outbox() -> None:
    """Everything a device made offline stands in the log once, and the device knows (SYN-16)."""
    world, device = World(), a_device(events=1_200)
    (link,) = world.exchange(device)
    assert world.payloads() == [b"1/%d" % at for at in range(1_200)]
    assert set(device.outcomes.values()) == {Outcome.ACCEPTED}
    assert device.answered_seq == 1_200
    assert link.server.state is link.device.state is State.LIVE


def test_other_devices_get_what_one_pushed() -> None:
    """Both devices and the server hold the same set with the same decisions (reliability I-10)."""
    world, one, two = World(), a_device(1, events=30), a_device(2, events=40)
    world.exchange(one, two)
    one.write(world.now_ms, b"later")
    for link in world.links:
        world.device_does(link, link.device.offer(world.device_ms(link)))
    world.settle()
    assert one.base == two.base == world.held
    assert len(world.held) == 71
    assert one.cursor == two.cursor == world.position


def test_an_author_gets_its_cursor_but_not_its_segments() -> None:
    """The author of a segment is told how far it is, not what it said."""
    world, device = World(), a_device(events=700)
    (link,) = world.exchange(device)
    applied = [effect for effect in effects_of(world, e.Apply) if isinstance(effect, e.Apply)]
    assert [effect.segments for effect in applied] == [()] * len(applied)
    assert device.cursor == world.position
    world.now_ms += CONFIRM_INTERVAL_MS
    world.device_does(link, link.device.tick(world.now_ms))
    world.settle()
    assert link.server.confirmed == world.position


def test_a_newcomer_catches_up_by_pages() -> None:
    """A device that was never here gets the whole log, in pages, then stays level (SYN-03)."""
    world, author, newcomer = World(), a_device(1, events=3_000), a_device(2)
    world.exchange(author)
    world.exchange(author, newcomer)
    assert newcomer.base == world.held
    assert newcomer.cursor == world.position
    assert newcomer.chain == world.log.head(AccountId(ACCOUNT)).chain


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_lost_result_is_told_again(kept: int) -> None:
    """After a lost RESULT the same answers come again, position for position (I-2, I-3)."""
    world, device = World(), a_device(events=5)
    device.write(START_MS, b"broken", kind="order.committed")
    device.spoil(b"\xc1 no event at all")
    device.write(START_MS, b"after")
    link = world.connect(device)
    while not device.outcomes and not effects_of(world, e.Settled):
        for move in world.moves(link)[:1]:
            move()
    world.drop(link)
    first = {sha256(own).digest() for own in device.own}
    assert not device.outcomes
    twin = copy.deepcopy(device)
    twin.answered_seq = 0
    world.exchange(device)
    again = dict(device.outcomes)
    device.answered_seq = kept
    device.outcomes.clear()
    world.exchange(device)
    world.drop(world.links[0])
    world.exchange(device)
    assert device.outcomes == {k: v for k, v in again.items() if k in device.outcomes}
    assert set(again) == first
    assert sorted(again.values()) == [Outcome.DUPLICATE] * 6 + [
        Outcome.QUARANTINED,
        Outcome.REFUSED,
    ]
    assert len(world.payloads()) == 6
    assert device.base == world.held


def test_a_gap_tells_the_device_where_to_go_on() -> None:
    """A push above the end of the chain is answered ``gap``, and nothing of it is taken."""
    world, device = World(), a_device(events=3)
    link = world.connect(device)
    world.settle()
    forged = link.device._pushed_seq = 5
    for at in range(4):
        device.write(START_MS, b"more %d" % at)
    world.device_does(link, link.device.offer(world.now_ms))
    world.settle()
    assert forged == 5
    assert [goodbye.code for goodbye in link.goodbyes] == ["gap", "gap"]
    world.exchange(device)
    assert len(world.payloads()) == 7


def test_a_restored_device_goes_on_in_a_new_epoch() -> None:
    """A device put back from a backup finds the fork, and both lives are kept (§6, I-5)."""
    world, device = World(), a_device(events=5)
    world.exchange(device)
    backup = copy.deepcopy(device)
    for at in range(20):
        device.write(START_MS, b"first life %d" % at)
    world.links.clear()
    world.exchange(device)
    for at in range(30):
        backup.write(START_MS, b"second life %d" % at)
    world.links.clear()
    world.exchange(backup)
    assert backup.epoch == 2
    assert len(set(world.payloads())) == len(world.payloads()) == 55
    assert backup.base == world.held
    world.exchange(backup, device)
    assert device.base == world.held


def test_a_device_that_lost_its_latest_events_finds_out_at_once() -> None:
    """A chain that is longer on the server than here is a fork before anything is said (§6)."""
    world, device = World(), a_device(events=5)
    world.exchange(device)
    backup = copy.deepcopy(device)
    device.write(START_MS, b"lost with the phone")
    world.links.clear()
    world.exchange(device)
    world.links.clear()
    (link,) = world.exchange(backup)
    assert backup.epoch == 2
    assert link.server.state is State.LIVE
    assert backup.base == world.held


def test_what_the_server_knows_already_is_not_made_again_in_the_new_epoch() -> None:
    """Unanswered events below the fork are answered, only those above are remade (I-2)."""
    world, device = World(), a_device(events=4)
    link = world.connect(device)
    while not effects_of(world, e.Settled):
        world.moves(link)[0]()
    world.drop(link)
    clone = copy.deepcopy(device)
    device.write(START_MS, b"device")
    clone.write(START_MS, b"clone")
    world.exchange(device)
    world.links.clear()
    world.exchange(clone)
    assert sorted(world.payloads()) == sorted(
        [*(b"1/%d" % at for at in range(4)), b"device", b"clone"]
    )
    assert clone.base == world.held


@pytest.mark.parametrize("told", [True, False])
def test_a_server_put_back_from_a_backup_is_healed_by_its_devices(told: bool) -> None:
    """What the server forgot comes back from its authors, announced or not (I-1, I-6)."""
    world, one, two = World(), a_device(1, events=10), a_device(2, events=10)
    world.exchange(one, two)
    backup = world.backup()
    for at in range(15):
        one.write(START_MS, b"forgotten %d" % at)
    world.links.clear()
    world.exchange(one, two)
    assert len(world.held) == 35
    restored = World(log=backup)
    assert isinstance(backup, RestoredLog)
    backup.generation = 2 if told else 1
    restored.exchange(one, two)
    restored.exchange(one, two)
    assert len(restored.payloads()) == len(set(restored.payloads())) == 35
    assert one.base == two.base == restored.held
    assert effects_of(restored, e.Reset)


@pytest.mark.parametrize("skew_ms", [0, 1_500, -90_000, TEN_YEARS_MS, -TEN_YEARS_MS])
def test_a_wrong_clock_costs_nobody_anything(skew_ms: int) -> None:
    """Whatever the clock says, work is accepted and merged by the corrected time (CON-08)."""
    world, device = World(), a_device(events=3, skew_ms=skew_ms)
    (link,) = world.exchange(device)
    assert link.server.offset_ms == skew_ms
    assert set(device.outcomes.values()) == {Outcome.ACCEPTED}
    for segment in world.segments():
        for _, record in records(segment):
            assert abs(int.from_bytes(record.stamp[:6], "big") - START_MS) <= 2_000
            assert not record.flags & Flag.DISPUTED
    assert device.base == world.held


def test_sync_now_ends_in_equal_digests() -> None:
    """Sync Now has the device push, and its digest equals the server's there (SYN-03, §7)."""
    world, one, two = World(), a_device(1, events=20), a_device(2, events=5)
    links = world.exchange(one, two)
    one.write(world.now_ms, b"not offered yet")
    for link in links:
        world.server_does(link, link.server.ask_sync("run-1", world.now_ms))
    world.settle()
    received = [
        x.digest for x in effects_of(world, e.DigestReceived) if isinstance(x, e.DigestReceived)
    ]
    assert [x for x in world.seen if isinstance(x, e.SyncRequested)]
    assert len(received) == 2
    assert [digest.pending for digest in received] == [0, 0]
    for link in links:
        world.server_does(link, link.server.ask_digest(0, world.now_ms))
    world.settle()
    final = [
        x.digest for x in effects_of(world, e.DigestReceived) if isinstance(x, e.DigestReceived)
    ]
    assert {digest.sections for digest in final[2:]} == {digest_of(world.held)}


def test_a_device_may_ask_for_the_servers_digest() -> None:
    """The server answers for exactly the position asked (§7)."""
    world, device = World(), a_device(events=20)
    (link,) = world.exchange(device)
    world.device_does(link, link.device.ask_digest(device.cursor, world.now_ms))
    world.settle()
    (received,) = effects_of(world, e.DigestReceived)
    assert isinstance(received, e.DigestReceived)
    assert received.digest.sections == digest_of(device.base)
