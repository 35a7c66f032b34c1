"""Two server processes on one PostgreSQL: devices meet whichever they are connected to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from replica.events.event import event_id
from replica.events.payloads import OrderCancelled
from replica.sync.messages import CloseCode, Outcome
from tests.postgres import fresh_database, postgres_server
from tests.server.raw import RawDevice, customer
from tests.server.test_aside import made, wrong_order
from tests.server.test_connections import names
from tests.server.world import World

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    """Two servers that know of each other through the database alone."""
    with postgres_server() as server:
        url = fresh_database(server)
        one = World(tmp_path_factory.mktemp("one"), database_url=url)
        other = World(tmp_path_factory.mktemp("other"), database_url=url)
        yield one, other
        one.stop()
        other.stop()


def test_an_event_crosses_from_one_process_to_the_other(pair: tuple[World, World]) -> None:
    """What is committed here is noticed there within the poll (architecture §10, I-4)."""
    one, other = pair
    company = one.company()
    author, reader = RawDevice.enrol(one, company), RawDevice.enrol(other, company)
    author.meet()
    reader.meet()
    position = author.write(customer(1), customer(2)).verdicts[0].first_position + 1
    assert names(reader.events_until(position)) == ["1", "2"]
    author.close()
    reader.close()


def test_both_write_one_log(pair: tuple[World, World]) -> None:
    """Positions stay gapless whoever commits, and both show the same pages (I-4, I-10)."""
    one, other = pair
    company = one.company()
    first, second = RawDevice.enrol(one, company), RawDevice.enrol(other, company)
    first.meet()
    second.meet()
    positions = []
    for number in range(10):
        for device in (first, second):
            result = device.write(customer(number))
            positions.append(result.verdicts[0].first_position)
    assert sorted(positions) == list(range(min(positions), min(positions) + 20))
    first.close()
    second.close()
    shown = []
    for world in pair:
        world.caught_up(company)
        with world.operator(company) as office:
            shown.append(office.get("/sections").json())
    assert shown[0] == shown[1]


def test_what_waits_on_quarantine_waits_at_the_other_process_too(
    pair: tuple[World, World],
) -> None:
    """An event that builds on one quarantined through another process is not let in, however much
    this process has decided for the account before (pitfalls P29, I-19)."""
    one, other = pair
    company = one.company()
    witness = RawDevice.enrol(other, company)
    witness.meet()
    witness.write(customer(1))
    phone = RawDevice.enrol(one, company)
    phone.meet()
    bad = made(phone, wrong_order())
    assert phone.settle([bad]).verdicts[0].outcome is Outcome.QUARANTINED
    phone.close()
    phone.world = other
    phone.meet()
    waits = made(phone, OrderCancelled("o-9"), event_id(bad))
    (verdict,) = phone.settle([waits]).verdicts
    assert (verdict.outcome, verdict.code) == (Outcome.QUARANTINED, "waits_on")
    phone.close()
    witness.close()


def test_a_revocation_reaches_the_other_process(pair: tuple[World, World]) -> None:
    """A device revoked here loses its connection there within seconds (I-18)."""
    one, other = pair
    company = one.company()
    device = RawDevice.enrol(other, company)
    device.meet()
    with one.operator(company) as office:
        assert office.post(f"/devices/{device.device.hex()}/revoke").status_code == 200
    goodbye, close_code = device.farewell()
    assert goodbye is not None
    assert (goodbye.code, close_code) == ("revoked", CloseCode.REVOKED)
    device.close()


def test_the_office_writes_through_either(pair: tuple[World, World]) -> None:
    """The web device has one chain, whichever process writes as it (I-5)."""
    one, _ = pair
    company = one.company()
    last = 0
    for number in range(6):
        last = pair[number % 2].write(company, customer(number))
    assert last == 6
    for world in pair:
        with world.operator(company) as office:
            world.caught_up(company)
            assert len(office.get("/customers").json()["rows"]) == 6
