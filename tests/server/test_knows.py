"""What a device says that it can do, against a running server."""

from __future__ import annotations

from replica.sync import messages as m
from tests.server.raw import RawDevice, customer
from tests.server.test_scope import EVEN, stocked
from tests.server.world import Company, World


def test_a_device_that_knows_no_scope_is_told_so(world: World, company: Company) -> None:
    """An older program takes the log as ever; once the office chooses a part for its device it gets
    a typed refusal in words, which Devices shows; its work goes in again when everything is chosen
    (CFG-05, SYN-17)."""
    stocked(world, company)
    device = RawDevice.enrol(world, company)
    device.knows = ()
    device.meet()
    device.write(customer(1))
    with world.operator(company) as office:
        asked = f"/scope?device={device.device.hex()}"
        assert office.put(asked, json=EVEN).status_code == 200
        assert device.expect(m.Goodbye).code == "closed"
        device.open()
        device.say(device.hello(knows=("colours",)))
        said = device.expect(m.Goodbye)
        assert (said.code, said.close_code) == ("upgrade_required", 4001)
        assert "update the program" in said.message
        line = world.line(lambda one: one.get("reason") == "upgrade_required")
        assert line["device"] == device.device
        with world.browser(company) as pages:
            assert f"Sent away: {said.message}" in pages.text("/devices")
        everything = dict.fromkeys(("customers", "prospects", "products"), "all")
        assert office.put(asked, json=everything).status_code == 200
    device.meet()
    result = device.write(customer(2))
    assert [one.outcome for one in result.verdicts] == [m.Outcome.ACCEPTED]
    with world.browser(company) as pages:
        assert "Sent away" not in pages.text("/devices")
    device.close()
