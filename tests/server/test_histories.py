"""What the office sees of histories: devices with another life, a log that was put back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from replica.store.backup import raise_generation
from replica.store.lives import histories
from tests.server.raw import RawDevice, customer, wall_ms
from tests.server.world import Company, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "data")
    yield made
    made.stop()


@pytest.fixture
def company(world: World) -> Company:
    return world.company()


def test_a_device_that_goes_on_as_another_life_is_told(world: World, company: Company) -> None:
    """The page and the API say of a device that was copied which life it goes on as, in a sentence
    that stays; of one that was not they say nothing (I-5)."""
    copied = RawDevice.enrol(world, company, "Ana's phone")
    plain = RawDevice.enrol(world, company, "Till 1")
    for device in (copied, plain):
        device.meet()
        device.write(customer(1))
    with world.browser(company) as pages:
        assert "Life" not in pages.text("/devices")
    copied.epoch, copied.seq, copied.prev = 2, 0, bytes(32)
    copied.meet()
    copied.write(customer(2))
    with world.operator(company) as office:
        told = office.get("/devices").json()
    assert {row["name"]: row["life"] for row in told["rows"]} == {"Ana's phone": 2, "Till 1": 1}
    assert told["restored_ms"] == 0
    with world.browser(company) as pages:
        text = pages.text("/devices")
    assert text.count("Life 2") == 1
    assert "it was copied, put back to an older state, or fetched everything again" in text
    assert "restored from a backup" not in text
    copied.close()
    plain.close()


def test_a_log_that_was_put_back_is_told(world: World, company: Company) -> None:
    """After a restore the page and the API say when it was, and that devices tell again what the
    server had forgotten (D5)."""
    world.write(company, customer(1))
    now_ms = wall_ms()
    raise_generation(world.stores.database, now_ms=now_ms)
    assert histories(world.stores.database, company.account).restored_ms == now_ms // 1_000 * 1_000
    with world.operator(company) as office:
        assert office.get("/devices").json()["restored_ms"] == now_ms // 1_000 * 1_000
    with world.browser(company) as pages:
        text = pages.text("/devices")
    assert "This server was restored from a backup" in text
    assert "Life" not in text


def test_a_generation_that_was_counted_up_has_no_time(world: World, company: Company) -> None:
    """A log that was put back by a clock that knew no time is not said to be of 1970 (CON-08)."""
    world.write(company, customer(1))
    raise_generation(world.stores.database, now_ms=0)
    assert histories(world.stores.database, company.account).restored_ms == 0
