"""Explanations with their times, and the same answer on two devices and on the server."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from replica.crdt.documents import DocKey
from replica.crdt.why import explain, why_values
from replica.device.holding import Holding
from replica.events import payloads as p
from replica.events.event import EventId, Position
from replica.events.kinds import CATALOGUE
from replica.events.record import Origin, Record, records
from replica.projections import queries
from replica.projections.runner import Projector
from replica.projections.tables import open_views
from replica.projections.why import explained, witness
from replica.store.engine import open_sqlite
from tests.crdt.samples import PAYLOADS
from tests.device.desk import ACCOUNT, NOW_MS, Office, customer, identity, opened

OF_DEVICES = sorted(name for (name, _), kind in CATALOGUE.items() if Origin.DEVICE in kind.origins)
OF_OFFICE = sorted(name for (name, _), kind in CATALOGUE.items() if Origin.WEB in kind.origins)
HOUR_MS = 3_600_000
DEVICES = [identity(number).device for number in (1, 2)] + [
    bytes([0xF0 | origin]) * 16 for origin in (Origin.WEB, Origin.SINK)
]
"""Everybody who writes at the desk."""


@st.composite
def days(draw: st.DrawFn) -> list[tuple[int, p.Payload, int]]:
    """Who (0 is the office), what, and how wrong the clock of a device is."""
    steps = []
    for _ in range(draw(st.integers(1, 12))):
        who = draw(st.integers(0, 2))
        payload = draw(PAYLOADS[draw(st.sampled_from(OF_DEVICES if who else OF_OFFICE))])
        steps.append((who, payload, draw(st.sampled_from([0, 0, HOUR_MS, -HOUR_MS]))))
    return steps


def answers_of(holding: Holding, key: DocKey) -> list[dict[str, object]]:
    document = holding.document(key)
    assert document is not None
    return [why_values(why) for why in explain(document)]


@given(days())
@settings(max_examples=40, deadline=None)
def test_every_replica_gives_the_same_answer(steps: list[tuple[int, p.Payload, int]]) -> None:
    """Two devices with wrong clocks and the server explain every field of every document alike,
    and the server finds each event with its author's time (CON-07, CON-10)."""
    with tempfile.TemporaryDirectory() as folder:
        phones = [opened(Path(folder) / f"{number}.db", number) for number in (1, 2)]
        office = Office()
        for who, payload, skew_ms in steps:
            office.now_ms += 1_000
            if who:
                phones[who - 1].append([payload], office.now_ms + skew_ms)
                office.push(phones[who - 1], offset_ms=skew_ms)
            else:
                office.write(payload)
        for phone in phones:
            office.level(phone)
        views = open_sqlite(Path(folder) / "views.db", profile="rebuildable")
        open_views(views.write)
        Projector(views, office.log).catch_up(ACCOUNT)
        with views.reading() as connection:
            changed = queries.changed_after(connection, ACCOUNT, Position(0))
            found = {key: queries.document(connection, ACCOUNT, key) for _, key in changed}
        for key, document in found.items():
            assert document is not None
            told = [why_values(why) for why in explain(document)]
            assert [answers_of(phone, key) for phone in phones] == [told, told]
            for one in explained(office.log, ACCOUNT, DEVICES, document):
                for said in (*one["winners"], *one["losers"]):
                    assert said["received_ms"] is not None
                    assert said["device"][16:] == said["node"]
        views.close()
        for phone in phones:
            phone.close()


def test_a_record_is_found_by_its_tag_among_many(tmp_path: Path) -> None:
    """Every event is found in the log from its tag alone, across segments and the gaps that events
    kept aside leave; one that nobody wrote is not."""
    office, phone = Office(), opened(tmp_path / "1.db")
    for number in range(40):
        made = phone.append([customer(number)], NOW_MS + number)
        if number % 7 == 3:
            office.quarantined.add(made[0].id)
            phone.append([customer(number)], NOW_MS + number, deps=[made[0].id])
        office.push(phone, count=1 + number % 5)
    office.level(phone)
    every: list[Record] = office.records()
    assert len(every) < phone.journal.head.seq, "some were kept aside"
    for record in every:
        seen = witness(office.log, ACCOUNT, DEVICES, record.tag)
        assert seen is not None
        assert seen.record == record
    first = every[0]
    other = first._replace(id=EventId(bytes(32)))
    assert witness(office.log, ACCOUNT, DEVICES, other.tag) is None
    assert witness(office.log, ACCOUNT, [], first.tag) is None
    phone.close()


def test_all_times_are_told(tmp_path: Path) -> None:
    """A device whose clock is an hour ahead: its own time, the merge time and the time of receipt
    stand beside each other, and so do device, position and dispute (CON-08, CON-10)."""
    office, phone = Office(), opened(tmp_path / "1.db")
    phone.append([customer(1)], NOW_MS + HOUR_MS)
    office.push(phone, offset_ms=HOUR_MS)
    document = phone.document(DocKey("customer", "c-1"))
    assert document is not None
    (told,) = explained(office.log, ACCOUNT, DEVICES, document, "name")
    (said,) = told["winners"]
    ((position, record),) = records(office.log.read(ACCOUNT, Position(0), 1 << 20)[0])
    assert (said["raw_ms"], said["merged_ms"]) == (NOW_MS + HOUR_MS, NOW_MS)
    assert (said["received_ms"], said["position"]) == (NOW_MS, position)
    assert (said["device"], said["disputed"]) == (record.event.device.hex(), False)
    assert (said["raw_stamp"], said["version"]) == (record.event.stamp.hex(), 1)
    phone.close()
