"""One order, from a device without a network to QuickBooks and back, followed by its event id and
its order id through the server's log lines, as somebody who looks for a lost order does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replica.device import (
    CustomerCreated,
    CustomerFields,
    Device,
    ProductCreated,
    ProductFields,
    Sealed,
)
from tests.acceptance.running import Sandbox, Server, running

pytestmark = pytest.mark.process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose QuickBooks is the sandbox."""
    sandbox = Sandbox(tmp_path)
    with running(sandbox):
        books = {"QBO_PROFILE": "local-sandbox", "QBO_API_BASE": sandbox.url}
        one = Server(tmp_path, books)
        with running(one):
            yield one


def sell(device: Device) -> Sealed:
    """A new customer buys three of a new product; the network plays no part."""
    device.append(
        CustomerCreated("c-tea", CustomerFields(name="Teahouse", currency="USD")),
        ProductCreated(
            "p-tea", ProductFields(name="Green tea", sku="TEA", price_e4=42_500, currency="USD")
        ),
    )
    return device.order(customer="c-tea", currency="USD").add("p-tea", 3).commit()


def test_one_order_can_be_followed_through_the_log(server: Server, tmp_path: Path) -> None:
    """The log leads from the order's event id to its position, from there to the step that took it
    into the lists, from the order id to QuickBooks, and from the estimate's event id back to the
    device (QB-01, QB-02, QB-06, SYN-25, OFF-12)."""
    with Device.open(tmp_path / "till.db") as device:
        device.enrol(server.url, server.code("Till"), "Till")
        order = sell(device)
        assert order.offline
        assert device.ladder(order.id).state == "on_device"
        assert device.sync().equal
        sent = device.ladder(order.id)
        assert (sent.state, sent.estimate_number) == ("on_server", "")
        pressed = server.call("POST", "/api/v1/sync-now?wait=1")
        assert (pressed["state"], pressed["problems"]) == ("done", [])
        assert device.sync().equal
        done = device.ladder(order.id)
        document = device.get("order", order.id)
    assert document is not None
    answer = document["answers"][done.estimate_system]
    assert done.state == "estimated"
    assert done.estimate_number == answer["number"] != ""
    assert answer["total_minor"] == order.total_minor == 1_275
    server.stop()
    lines = server.lines()
    estimate = answer["tag"][-64:]

    accepted = one(lines, "batch", with_event=order.event.hex())
    position = sent.server_position
    assert position is not None
    assert accepted["first_position"] <= position <= accepted["last_position"]
    step = one(lines, "projection step", over=position)
    sink = one(lines, "sink step", document=f"order:{order.id}")
    assert (sink["op"], sink["outcome"]) == ("create", "done")
    assert sink["requestid"]
    answered = one(lines, "batch", with_event=estimate)
    assert answered["first_position"] > accepted["last_position"]
    run = next(line for line in lines if line["event"] == "sink run" and line["sent"])
    back = [line for line in lines if line["event"] == "connection"][-1]
    assert back["confirmed_position"] >= answered["last_position"]
    ladder = [accepted, step, sink, answered, run, back]
    assert [line["timestamp"] for line in ladder] == sorted(line["timestamp"] for line in ladder)
    assert {line["account"] for line in ladder} == {accepted["account"]}


def one(
    lines: list[dict[str, Any]],
    event: str,
    *,
    with_event: str = "",
    over: int = 0,
    **fields: str,
) -> dict[str, Any]:
    """The only line `event` that names the event id, covers the position and has the fields."""
    (found,) = [
        line
        for line in lines
        if line["event"] == event
        and (not with_event or with_event in line["events"])
        and (not over or line["first_position"] <= over <= line["last_position"])
        and fields.items() <= line.items()
    ]
    return found
