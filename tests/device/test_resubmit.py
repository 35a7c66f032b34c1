"""Saying a quarantined event again: the document keeps its identity, and what waited goes along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from replica.crdt.documents import DocKey
from replica.crdt.view import View, view
from replica.device import Device, OrderCancelled, OrderCommitted
from replica.device.status import Rejected
from replica.errors import MisuseError
from replica.events.event import EventId
from replica.sync.remedies import fix
from tests.device.desk import NOW_MS, Office, careless, customer, identity, opened, order
from tests.device.server import enrolled

ORDER = DocKey("order", "o-1")


def wrong(number: int = 1) -> OrderCommitted:
    """An order whose total is not the sum of its lines, as a program without that rule writes."""
    good = order(number)
    return msgspec.structs.replace(
        good, content=msgspec.structs.replace(good.content, total_minor=1)
    )


class Desk:
    """A device that wrote a wrong order, what depends on it, and something else; all was pushed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.device = self.open()
        with careless():
            (self.bad,) = self.device.append(wrong())
        self.waits, self.other = self.device.append(OrderCancelled("o-1", "not today"), customer(7))
        self.office = Office()
        self.level()

    def open(self) -> Device:
        return enrolled(Device.open(self.path, now_ms=lambda: NOW_MS), identity())

    def level(self) -> None:
        self.office.level(self.device._holding)

    @property
    def rejected(self) -> dict[EventId, Rejected]:
        return {row.event: row for row in self.device.status().rejected}

    def on_server(self) -> View:
        """The order as another device sees it."""
        other = opened(self.path.with_name("other.db"), 2)
        self.office.level(other)
        found = other.document(ORDER)
        other.close()
        assert found is not None
        return view(found)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "j.db")
    yield made
    made.device.close()


def test_the_author_sees_cause_and_fix(desk: Desk) -> None:
    """The bad event and its dependant are set aside with document, cause and fix, the same words as
    the office reads; the rest is on the server (P29, I-19)."""
    bad, waits = desk.rejected[desk.bad], desk.rejected[desk.waits]
    assert set(desk.rejected) == {desk.bad, desk.waits}
    assert (bad.type, bad.id, bad.code, bad.fix) == ("order", "o-1", "payload", fix("payload"))
    assert (waits.code, waits.fix) == ("waits_on", fix("waits_on"))
    assert desk.bad.hex() in waits.reason
    assert desk.other in {record.id for record in desk.office.records()}


def test_a_corrected_event_takes_what_waits_along(desk: Desk) -> None:
    """The corrected order arrives under the same id, and after it the cancellation that waited,
    naming the new event; nothing is rejected any more, and both replicas agree (I-1, I-19)."""
    again = desk.device.resubmit(desk.rejected[desk.bad], order(1))
    assert desk.rejected == {}
    assert desk.device.status().pending == 2
    desk.level()
    assert desk.rejected == {}
    arrived = desk.office.records()
    assert [record.id for record in arrived][-2:] == list(again)
    assert arrived[-1].event.deps == (again[0],)
    seen = desk.on_server()
    assert (seen["state"], seen["content"]["total_minor"]) == ("cancelled", 250)
    assert desk.device.get("order", "o-1") == seen


def test_it_survives_a_restart_and_a_restored_server(desk: Desk) -> None:
    """What was said again stays so after a restart; a server that lost everything is offered the
    old events too, sets them aside again, and nobody is bothered a second time (I-29, D5)."""
    desk.device.resubmit(desk.rejected[desk.bad], order(1))
    desk.device.close()
    desk.device = desk.open()
    assert desk.rejected == {}
    desk.level()
    before = desk.device.get("order", "o-1")
    desk.office = Office()
    desk.device._holding.start_over(bytes(16), 2, 0)
    assert desk.device.get("order", "o-1") is not None
    desk.level()
    assert desk.rejected == {}
    assert desk.device.get("order", "o-1") == before
    assert len(desk.office.records()) == 3


def test_a_dependant_that_came_later_is_said_again_as_it_was(desk: Desk) -> None:
    """Work that still named the old event is set aside when it arrives, and goes through when it is
    said again: its reference has been renamed (P29)."""
    (late,) = desk.device.append(OrderCancelled("o-1", "really"), deps=[desk.bad])
    (now, _) = desk.device.resubmit(desk.rejected[desk.bad], order(1))
    desk.level()
    assert set(desk.rejected) == {late}
    desk.device.resubmit(desk.rejected[late])
    desk.level()
    assert desk.rejected == {}
    assert now in desk.office.records()[-1].event.deps


def test_only_a_correction_is_taken(desk: Desk) -> None:
    """Another kind, another document, the same mistake, or an event that is not in quarantine any
    more: nothing is written, and the row stays as it was."""
    row = desk.rejected[desk.bad]
    for payload in (None, wrong(), order(2), customer(1), OrderCancelled("o-1")):
        with pytest.raises(MisuseError):
            desk.device.resubmit(row, payload)
        assert set(desk.rejected) == {desk.bad, desk.waits}
        assert desk.device.status().pending == 0
    desk.device.resubmit(row, order(1))
    with pytest.raises(MisuseError, match="said again already"):
        desk.device.resubmit(row, order(1))


def test_a_correction_that_is_wrong_again_is_a_row_of_its_own(desk: Desk) -> None:
    """A correction that the server sets aside as well can be corrected again, and takes the same
    dependants along (P29)."""
    with careless():
        second, third = desk.device.resubmit(desk.rejected[desk.bad], wrong())
    desk.level()
    assert set(desk.rejected) == {second, third}
    assert desk.rejected[third].code == "waits_on"
    desk.device.resubmit(desk.rejected[second], order(1))
    desk.level()
    assert desk.rejected == {}
    assert desk.on_server()["state"] == "cancelled"
