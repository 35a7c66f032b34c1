"""Two accounts on one server: nothing of one is ever seen by the other (reliability I-16)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from replica.events.payloads import CustomerCreated, CustomerFields, ProductCreated, ProductFields
from replica.sync import messages as m
from tests.server.raw import RawDevice, customer
from tests.server.test_pages import PATHS, order
from tests.server.world import Company, World

CANARY = "zebra-finch"
API = (
    "/me",
    "/orders",
    "/orders/o-zebra-finch",
    "/customers",
    "/customers/c-zebra-finch",
    "/products",
    "/conflicts",
    "/quarantine",
    "/sections",
    "/queue",
    "/sync-now",
    "/devices",
)


@pytest.fixture(scope="module")
def pair(world: World) -> Iterator[tuple[Company, Company, RawDevice]]:
    """An account full of canaries with a device, and another account with nothing."""
    full, empty = world.company(), world.company()
    device = RawDevice.enrol(world, full, f"{CANARY} phone")
    device.meet()
    device.settle([device.follow(f"{CANARY} is no event".encode())])
    device.close()
    world.write(
        full,
        CustomerCreated(customer=f"c-{CANARY}", fields=CustomerFields(name=f"{CANARY} Ltd")),
        ProductCreated(product=f"p-{CANARY}", fields=ProductFields(name=f"{CANARY} seed")),
        order(f"o-{CANARY}", CANARY, f"c-{CANARY}"),
    )
    with world.browser(full) as pages:
        pages.post(f"/customers/c-{CANARY}", name=f"{CANARY} & Co", **{"was.name": f"{CANARY} Ltd"})
        pages.post("/sync-now")
    world.on_loop(lambda: world.runtime.sync_now.finish(full.account))
    device.meet()
    yield full, empty, device
    device.close()


@pytest.mark.parametrize(
    "path", [*PATHS, f"/orders/o-{CANARY}", f"/customers/c-{CANARY}", f"/orders?q={CANARY}"]
)
def test_no_page_shows_another_account(
    world: World, pair: tuple[Company, Company, RawDevice], path: str
) -> None:
    """Every page of one account is free of the other's names (reliability I-16)."""
    full, empty, _ = pair
    with world.browser(empty) as pages:
        text = pages.get(path).text.replace(f'value="{CANARY}"', "")
        assert CANARY not in text
        assert full.account.hex() not in text
        assert full.name not in text


@pytest.mark.parametrize("path", API)
def test_no_answer_tells_of_another_account(
    world: World, pair: tuple[Company, Company, RawDevice], path: str
) -> None:
    """Every answer to one account's user is free of the other's data (reliability I-16)."""
    full, empty, device = pair
    with world.browser(empty) as pages:
        answer = pages.get(f"/api/v1{path}")
        for secret in (CANARY, full.account.hex(), full.name, device.device.hex()):
            assert secret not in answer.text
        # A session names its account; a header that names another one changes nothing.
        headers = {"x-replica-account": full.account.hex()}
        again = pages.client.get(f"/api/v1{path}", headers=headers)
        assert CANARY not in again.text


def test_no_change_reaches_another_account(
    world: World, pair: tuple[Company, Company, RawDevice]
) -> None:
    """Ids of another account are unknown to whoever may not see them (reliability I-16)."""
    full, empty, device = pair
    before = world.caught_up(full)
    with world.browser(empty) as pages:
        assert pages.post(f"/customers/c-{CANARY}/delete").status_code == 404
        assert pages.post(f"/customers/c-{CANARY}", name="x").status_code == 404
        assert pages.post(f"/devices/{device.device.hex()}/revoke").status_code == 403
    assert world.caught_up(full) == before
    assert device.write(customer(1)).verdicts[0].outcome is m.Outcome.ACCEPTED


def test_no_event_reaches_another_accounts_device(
    world: World, pair: tuple[Company, Company, RawDevice]
) -> None:
    """Fan-out and catch-up stay within the account (reliability I-16)."""
    full, empty, _ = pair
    stranger = RawDevice.enrol(world, empty)
    stranger.meet()
    world.write(full, CustomerCreated(customer="c-2", fields=CustomerFields(name=CANARY)))
    position = world.write(empty, CustomerCreated(customer="c", fields=CustomerFields(name="own")))
    frames = stranger.events_until(position)
    received = b"".join(segment.records for frame in frames for segment in frame.segments)
    assert b"own" in received
    assert CANARY.encode() not in received
    stranger.close()


def test_no_stream_tells_of_another_account(
    world: World, pair: tuple[Company, Company, RawDevice]
) -> None:
    """An open page hears of its own account alone (reliability I-16)."""
    full, empty, _ = pair
    with world.browser(empty) as pages, pages.client.stream("GET", "/live") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: hello"
        world.write(full, CustomerCreated(customer="c-3", fields=CustomerFields(name=CANARY)))
        own = world.write(empty, CustomerCreated(customer="c-9", fields=CustomerFields(name="own")))
        heard = next(line for line in lines if line.startswith("data: ") and str(own) in line)
        assert heard == f"data: {own}"
