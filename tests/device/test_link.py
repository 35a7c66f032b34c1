"""The link, over real sockets: level with the server whatever happens on the way."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

import replica.device.asking
from replica.device import CustomerChanged, CustomerFields, Device, Identity, Mode, StockCounted
from replica.device.journal import State
from replica.device.link import delay_bound_ms, retry_after_ms
from replica.errors import Forbidden, Overloaded, PeerGone, Revoked, UpgradeRequired
from replica.events.payloads import OrderEstimated, OrderParked
from replica.events.record import Origin
from replica.limits import RECONNECT_DELAY_MS_MAX, RECONNECT_HINT_MS_MAX
from tests.device.desk import customer, order
from tests.device.server import FakeServer, enrolled, wall_ms

LONG = CustomerFields(name="n" * 400, company="c" * 400)  # a page holds about 140 of these


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


def opened(server: FakeServer, path: Path, number: int = 1, skew_ms: int = 0) -> Device:
    device = Device.open(
        path / f"{number}.db",
        now_ms=lambda: wall_ms() + skew_ms,
        random_bytes=bytes,  # no jitter: reconnect at once
    )
    return enrolled(device, server.identity(number))


def test_round_ends_level_and_proved(server: FakeServer, tmp_path: Path) -> None:
    """Work of both sides is exchanged and the digests are equal (SYN-03, SYN-16, SYN-17)."""
    with opened(server, tmp_path) as device:
        server.write(customer(1))
        device.append(StockCounted("p-1", 5_000), order(1))
        result = device.sync()
        assert (result.sent, result.received, result.equal) == (2, 1, True)
        assert result.position == 3
        assert result.digest == server.sections() == device.digest()
        status = device.status()
        assert (status.pending, status.cursor) == (0, 3)
        assert status.last_proof_ms == status.last_sync_ms is not None
        assert status.server_position == 3
        assert device.sync()[:2] == (0, 0)


def test_digest_that_differs_is_told(server: FakeServer, tmp_path: Path) -> None:
    """A device whose documents are not the server's does not claim to be level (P6)."""
    with opened(server, tmp_path) as device:
        server.write(customer(1))
        assert device.sync().equal
        before = device.status().last_proof_ms
        with device._holding.journal.commit():
            device._holding.journal.put_totals([("customer", 1, bytes(32))])
        device._holding.base = type(device._holding.base)(device._holding.journal)
        assert not device.sync().equal
        assert device.status().last_proof_ms == before


def test_live_link_carries_work_both_ways(server: FakeServer, tmp_path: Path) -> None:
    """Two devices that stay connected see each other's orders without a tap (SYN-04, ORD-09)."""
    with opened(server, tmp_path) as one, opened(server, tmp_path, 2) as other:
        one.start()
        other.start()
        other.wait_until(lambda status: status.mode is Mode.ONLINE)
        one.append(StockCounted("p-1", 5_000))
        sealed = one.order(customer="c-1", currency="EUR").add("p-1", 2, price_e4=100).commit()
        other.wait_until(lambda status: status.cursor == 2 and status.last_sync_ms is not None)
        assert other.status().last_proof_ms is None
        assert other.on_hand("p-1") == 3_000
        one.wait_until(lambda status: status.pending == 0)
        assert one.ladder(sealed.id).server_position == 2
        assert one.ladder(sealed.id).state == "on_server"
        assert other.ladder(sealed.id).state == "on_server"
        assert one.sync().equal
        assert other.sync().equal


def test_ladder_ends_with_the_estimate(server: FakeServer, tmp_path: Path) -> None:
    """The sink's answer reaches the phone by ordinary sync: its number, or what it needs."""
    with opened(server, tmp_path) as device:
        device.append(order(1), order(2))
        device.sync()
        estimated = OrderEstimated("o-1", "quickbooks", "77", "1042", 250)
        parked = OrderParked("o-2", "quickbooks", "6240", "the name exists", "link it")
        server.write(estimated, parked, origin=Origin.SINK)
        device.sync()
        ladder = device.ladder("o-1")
        assert (ladder.state, ladder.estimate_number) == ("estimated", "1042")
        assert ladder.server_position == 1
        assert (device.ladder("o-2").state, "name exists" in device.ladder("o-2").text) == (
            "parked",
            True,
        )


def test_cut_connections_lose_nothing(server: FakeServer, tmp_path: Path) -> None:
    """The device goes offline by itself, and online again when it can (OFF-01, OFF-03)."""
    with opened(server, tmp_path) as device:
        device.start()
        device.wait_until(lambda status: status.mode is Mode.ONLINE)
        server.refusals[bytes([1]) * 16] = Overloaded("later", retry_after_ms=0)
        server.cut()
        device.wait_until(lambda status: status.mode is not Mode.ONLINE)
        device.append(order(1))
        server.refusals.clear()
        device.wait_until(lambda status: status.pending == 0)
        assert device.sync().equal


def test_a_server_at_its_limit_is_left_alone_for_longer_each_time(
    server: FakeServer, tmp_path: Path
) -> None:
    """Being let in and sent away as ``overloaded`` counts as a failure, so that a thousand devices
    do not come back in the same second for ever (pitfalls P40)."""
    with opened(server, tmp_path) as device:
        device.append(order(1))
        server.append_error = Overloaded("later", retry_after_ms=0)
        device.start()
        link = device._link
        assert link is not None
        device.wait_until(lambda _: link.report.failures > 2)
        server.append_error = None
        device.wait_until(lambda status: status.pending == 0)


def test_the_delay_grows_to_a_bound_and_further_only_for_a_hint() -> None:
    """The delay doubles up to 30 s; a server may ask for more, up to five minutes (§1.2)."""
    grown = [delay_bound_ms(failures, 0) for failures in range(1, 12)]
    assert grown[:3] == [250, 500, 1_000]
    assert grown == sorted(grown)
    assert grown[-1] == RECONNECT_DELAY_MS_MAX
    assert delay_bound_ms(1, 7_000) == 7_000
    assert delay_bound_ms(50, 10**12) == RECONNECT_HINT_MS_MAX


@pytest.mark.parametrize(
    ("told", "wait_ms"), [("7", 7_000), ("", 0), ("soon", 0), ("-1", 0), ("9" * 50, 0)]
)
def test_a_refused_handshake_may_say_when_to_come_again(told: str, wait_ms: int) -> None:
    """``Retry-After`` of a full server is heard; nonsense in it is not (§1.2)."""
    refused = Response(503, "Service Unavailable", Headers([("Retry-After", told)]))
    assert retry_after_ms(InvalidStatus(refused)) == wait_ms


def test_answers_that_never_came_are_asked_for_again(server: FakeServer, tmp_path: Path) -> None:
    """Committed but unanswered pushes are told as duplicates: one effect each (P31, I-2)."""
    with opened(server, tmp_path) as device:
        device.append(StockCounted("p-1", 0), order(1), order(2))
        server.cut_before_answer = 1
        result = device.sync()
        assert result.equal
        assert server.hellos == 2
        assert len(server.records()) == 3
        assert device.on_hand("p-1") == -2_000


def test_fetching_again_after_a_restore_may_be_cut(server: FakeServer, tmp_path: Path) -> None:
    """A device that starts over with a restored server and is cut off ends level too (I-10)."""
    with opened(server, tmp_path) as one, opened(server, tmp_path, 2) as other:
        one.append(*[CustomerChanged(f"a-{n}", LONG) for n in range(300)])
        other.append(*[CustomerChanged(f"b-{n}", LONG) for n in range(300)])
        for device in (one, other, one):
            assert device.sync().equal
        server.restore(server.log.backup())
        server.pages_before_cut = 1
        assert one.sync().equal
        assert server.hellos == 5
        assert other.sync().equal


@pytest.mark.parametrize("pages", [0, 1, 2, 3])
def test_cut_in_the_middle_of_a_page_goes_on(
    server: FakeServer, tmp_path: Path, pages: int
) -> None:
    """Wherever the first sync breaks it is resumed, not begun again (SYN-01, SYN-23, P49)."""
    for number in range(6):
        server.write(*[CustomerChanged(f"c-{number}-{n}", LONG) for n in range(110)])
    with opened(server, tmp_path) as device:
        server.pages_before_cut = pages
        first = device.sync()
        assert first.equal
        assert first.received == 660
        assert server.hellos == 2
    with opened(server, tmp_path) as device:
        assert device.sync()[:2] == (0, 0)


def test_device_restored_from_a_backup_forks(server: FakeServer, tmp_path: Path) -> None:
    """Two lives of one device are noticed; both keep all they said (I-5, reliability §2.1)."""
    with opened(server, tmp_path) as device:
        device.append(customer(1))
        device.sync()
    shutil.copytree(tmp_path, tmp_path / "copy")
    with opened(server, tmp_path) as device:
        device.append(order(1))
        assert device.sync().equal
    with opened(server, tmp_path / "copy") as clone:
        clone.append(order(2), order(3))
        result = clone.sync()
        assert result.equal
        assert clone._holding.journal.head.epoch == 2
        assert [found["id"] for found in clone.list("order")] == ["o-1", "o-2", "o-3"]
        remade = [row.state for row in clone._holding.journal.own(2, 3)]
        assert remade == [State.REMADE, State.REMADE]
        clone.append(order(4))
        assert clone.sync().equal
    with opened(server, tmp_path) as device:
        device.append(order(5))
        assert device.sync().equal
        assert len(list(device.list("order"))) == 5
    epochs = {(one.event.epoch, one.event.seq) for one in server.records()}
    assert epochs == {(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)}


def test_backup_that_lost_own_events_gets_them_back(server: FakeServer, tmp_path: Path) -> None:
    """A device set back to an old journal receives what it had written since (I-4, I-10)."""
    with opened(server, tmp_path) as device:
        device.append(customer(1))
        device.sync()
    shutil.copytree(tmp_path, tmp_path / "copy")
    with opened(server, tmp_path) as device:
        device.append(order(1))
        device.sync()
    with opened(server, tmp_path / "copy") as device:
        assert device.sync().equal
        assert device.get("order", "o-1") is not None


def test_server_restored_from_a_backup_is_told_again(server: FakeServer, tmp_path: Path) -> None:
    """Events the server had acknowledged and lost are offered again by their author (I-1, D5)."""
    with opened(server, tmp_path) as one, opened(server, tmp_path, 2) as other:
        one.append(customer(1))
        one.sync()
        backup = server.log.backup()
        one.append(order(1))
        other.append(order(2))
        for device in (one, other, one):
            assert device.sync().equal
        server.restore(backup)
        server.write(customer(9))
        for device in (one, other, one):
            assert device.sync().equal
        assert {key.id for key in server.documents()} == {"c-1", "c-9", "o-1", "o-2"}
        assert len(server.records()) == 4
        assert one.status().pending == 0


@pytest.mark.parametrize(
    ("refusal", "mode"),
    [
        (Revoked("the office revoked this device"), Mode.REVOKED),
        (Forbidden("the token is not known"), Mode.FORBIDDEN),
        (UpgradeRequired("this program is too old"), Mode.UPGRADE_REQUIRED),
    ],
)
def test_refused_devices_rest_and_keep_their_work(
    server: FakeServer, tmp_path: Path, refusal: Forbidden, mode: Mode
) -> None:
    """Revoked, forbidden or outdated: said in words, no storm, outbox kept (OFF-23, OFF-19)."""
    with opened(server, tmp_path) as device:
        device.append(order(1))
        server.refusals[bytes([1]) * 16] = refusal
        with pytest.raises(type(refusal), match=str(refusal)):
            device.sync()
        device.start()
        status = device.wait_until(lambda status: status.mode is mode)
        assert str(refusal) in status.text
        assert status.pending == 1
        device._link._thread.join()  # type: ignore[union-attr]
        assert server.hellos == 2
        server.refusals.clear()
        assert device.sync().sent == 1


def test_quarantined_and_refused_are_counted_and_named(server: FakeServer, tmp_path: Path) -> None:
    """What the door set aside is in the result and in the status with its reason (I-19, P30)."""
    with opened(server, tmp_path) as device:
        (created,) = device.append(customer(1))
        server.quarantined.add(created)
        device.append(order(1))
        device.append(StockCounted("p-1", 5))
        result = device.sync()
        assert (result.sent, result.quarantined, result.refused, result.equal) == (3, 1, 0, True)
        (rejected,) = device.status().rejected
        assert (rejected.kind, rejected.type, rejected.id) == ("order.committed", "order", "o-1")
        assert rejected.state == "quarantined"
        assert created.hex() in rejected.reason
        assert device.ladder("o-1").state == "rejected"


def test_wrong_clock_is_measured_and_shown(server: FakeServer, tmp_path: Path) -> None:
    """A clock a year ahead refuses no work; the skew is shown in words (CON-08, P60)."""
    year_ms = 366 * 86_400_000 - 3_600_000
    with opened(server, tmp_path, skew_ms=year_ms) as device:
        # Long enough ago: on a busy machine the measured offset is off by some milliseconds.
        server.now_ms = lambda: wall_ms() - 10_000
        server.write(customer(1))
        server.now_ms = wall_ms
        device.append(CustomerChanged("c-1", CustomerFields(name="Rep")))
        device.start()
        device.wait_until(lambda status: abs(status.skew_ms - year_ms) < 5_000)
        assert "365 days ahead of" in device.status().skew_text
        assert device.sync().equal
        found = device.get("customer", "c-1")
        assert found is not None
        assert found["fields"]["name"] == "Rep"
    newest = max(record.stamp for record in server.records())
    assert int.from_bytes(newest[:6], "big") < wall_ms() + 300_000


def test_clock_that_was_set_is_measured_again(server: FakeServer, tmp_path: Path) -> None:
    """Somebody sets the clock of a connected device: a new connection measures it (P14)."""
    skew = [0]
    device = Device.open(
        tmp_path / "j.db",
        now_ms=lambda: wall_ms() + skew[0],
        random_bytes=bytes,
    )
    with enrolled(device, server.identity(1)):
        device.start()
        device.wait_until(lambda status: status.mode is Mode.ONLINE)
        skew[0] = -86_400_000
        device.append(customer(1))
        device.wait_until(lambda status: status.pending == 0 and status.skew_ms < -80_000_000)
        assert device.sync().equal


def test_sync_now_of_the_office_makes_a_device_push(server: FakeServer, tmp_path: Path) -> None:
    """The office presses Sync Now; the device answers with its digest and stays connected."""
    with opened(server, tmp_path) as device:
        device.start()
        device.wait_until(lambda status: status.mode is Mode.ONLINE)
        device.append(customer(1))
        server.ask_sync("run-1")
        device.wait_until(lambda status: status.pending == 0)
        assert device.sync().equal
        assert server.hellos == 1


def test_stopped_link_can_be_started_again(server: FakeServer, tmp_path: Path) -> None:
    """Start and stop as often as wanted; stopping twice is harmless."""
    with opened(server, tmp_path) as device:
        for number in range(3):
            device.append(order(number))
            device.start()
            device.start()
            device.wait_until(lambda status: status.pending == 0)
            device.stop()
            device.stop()
            assert device.status().mode is Mode.OFFLINE
        assert len(server.records()) == 3


def test_round_that_takes_too_long_is_ended(server: FakeServer, tmp_path: Path) -> None:
    """The time is over: the user hears so, nothing is lost, the next round goes on (SYN-23)."""
    with opened(server, tmp_path) as device:
        device.append(order(1))
        with pytest.raises(PeerGone, match="sync again"):
            device.sync(timeout_s=0)
        assert device.sync().equal


FOR_EVER_S = 3_600.0


def test_stopping_does_not_wait_for_a_silent_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that nobody answers is given up at once when the program ends (SYN-28)."""
    monkeypatch.setattr(replica.device.asking, "CHUNK_FETCH_TIMEOUT_S", FOR_EVER_S)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        nobody = Identity(bytes(16), bytes(16), "token", "name", url)
        with enrolled(Device.open(tmp_path / "j.db"), nobody) as device:
            device.start()
            device.wait_until(lambda status: url in status.text)
            accepted, _ = silent.accept()
            device.stop()
            assert device.status().text == "sync is stopped"
            accepted.close()


def test_rounds_of_several_threads_take_turns(server: FakeServer, tmp_path: Path) -> None:
    """Two presses of Sync at once both end in a proof."""
    with opened(server, tmp_path) as device, ThreadPoolExecutor(4) as pool:
        device.append(order(1))
        rounds = [pool.submit(device.sync) for _ in range(4)]
        assert all(one.result().equal for one in rounds)
