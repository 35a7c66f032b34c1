"""``replica carry``: with a server and without one, by the file alone."""

from __future__ import annotations

from pathlib import Path

import msgspec

from replica.device import Device, OrderCancelled, StockMoved
from replica.server.serve import operator_file
from tests.cli.test_verbs import Cli, cli, data
from tests.device.desk import careless, order
from tests.server.world import World

__all__ = ["cli", "data"]


def test_a_file_goes_in_by_the_command_line(cli: Cli, data: Path, tmp_path: Path) -> None:
    """Preview, import and receipt work through a running server and, on the same data, without
    one; the account is the one the file names; what is invalid ends with exit code 3 (OFF-16)."""
    world = World(data)
    file = tmp_path / "unsent.replica"
    with Device.open(tmp_path / "till.db") as device:
        try:
            world.company()
            device.enrol(world.url, world.code(world.company()), "Till")
            device.append(StockMoved("tea", 5))
            device.export(file)
            with operator_file(data, world.url, world.runtime.operator_token):
                seen = cli.json("carry", "preview", str(file))
                assert (seen["new"], seen["known"], seen["invalid"]) == (1, 0, 0)
                found = cli.json("carry", "import", str(file))
        finally:
            world.stop()
        assert (found["new"], found["receipt"]) == (1, f"{file}.receipt")
        assert "shows this work as synced" in cli.said
        assert device.take_receipt(f"{file}.receipt").synced == 1
        good = order(1)
        spoilt = msgspec.structs.replace(good.content, total_minor=1)
        with careless():
            device.append(msgspec.structs.replace(good, content=spoilt))
        device.append(OrderCancelled("o-1", ""))
        device.export(file)
    receipt = tmp_path / "elsewhere"
    shown = cli("carry", "import", str(file), "--receipt", str(receipt), code=3)
    assert ["invalid", "2"] in [line.split() for line in shown.splitlines()]
    assert "order.committed order/o-1 (seq 2)" in cli.said
    assert receipt.exists()
    file.write_bytes(file.read_bytes()[:-1])
    cli("carry", "preview", str(file), code=1)
    assert "cut short" in cli.said
    assert "copy it again" in cli.said
