"""The result of a Sync Now as events: counts and both fingerprints, and nothing silently lost."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.cli.sync import _proofs
from replica.crdt.digest import fingerprint
from replica.device import CustomerCreated, CustomerFields
from replica.events.event import AccountId
from replica.events.kinds import encode_payload
from replica.events.payloads import SyncFinished
from replica.limits import EVENT_BYTES_MAX, REPORT_BYTES_MAX, REPORT_ENTRIES_MAX, TEXT_CHARS_MAX
from replica.server import sync_now
from replica.server.answers import Json
from replica.server.devices import DeviceRow
from replica.server.results import finished_events
from replica.server.runs import Compared, DeviceProof, Run, device_problems, proof_values
from replica.server.web.run_views import run_page
from replica.sync import messages as m
from replica.sync.messages import SectionDigest
from tests.server.raw import RawDevice
from tests.server.world import Company, World

AT = 812
SERVER = (SectionDigest("customer", 5, b"a" * 32), SectionDigest("order", 7, b"b" * 32))


def held(number: int) -> tuple[SectionDigest, ...]:
    """What a device with another document than the server's holds."""
    return (SERVER[0], SectionDigest("order", 6, number.to_bytes(32)))


def proof(number: int, state: str, sections: tuple[SectionDigest, ...] = SERVER) -> DeviceProof:
    row = DeviceRow(f"{number:032x}", f"Phone {number}", None, "online", 7, 0, 0, 0, "")
    known = state in ("equal", "differs", "pending")
    return DeviceProof(row, state, 0, Compared(AT, SERVER, sections) if known else None)


def run_of(proofs: list[DeviceProof]) -> Run:
    run = Run("R1", AccountId(bytes(16)), "ana", 5, devices=proofs, sections=SERVER, position=AT)
    run.problems = device_problems(proofs)
    return run


def entries_of(events: list[SyncFinished]) -> dict[str, str]:
    """Every entry of a result; a key that stood in two of its events would be lost here."""
    found: dict[str, str] = {}
    for event in events:
        assert encode_payload(event)
        own = {key: text for key, text in event.report.items() if key != "part"}
        assert not found.keys() & own.keys()
        found |= own
    return found


def counted(report: dict[str, str], state: str) -> list[str]:
    """Ids that the lines of ``state`` name."""
    lines = [text for key, text in report.items() if re.fullmatch(rf"{state}\.\d+", key)]
    return [one for text in lines for one in re.findall(r"\b[0-9a-f]{32}\b", text)]


def left_out(report: dict[str, str]) -> int:
    said = re.match(r"and (\d+) more equal", report.get("equal.more", "and 0 more equal"))
    assert said is not None
    return int(said[1])


def test_of_500_devices_every_one_that_differs_is_told() -> None:
    """The result of an account with 500 devices has a line with counts and both fingerprints for
    each device that differs, and names every other (issue 5 point 7)."""
    proofs = [
        proof(n, "differs", held(n))
        if n % 9 == 0
        else proof(n, "offline" if n % 7 == 0 else "equal")
        for n in range(500)
    ]
    events = finished_events(run_of(proofs), 9)
    report = entries_of(events)
    ours = fingerprint(SERVER).hex()
    for one in proofs:
        if one.state != "differs":
            continue
        number = int(one.row.id, 16)
        theirs = fingerprint(held(number)).hex()
        assert report[f"device.{one.row.id}"] == (
            f"differs, pending 0; at {AT} server {ours} device {theirs};"
            f" order server 7 {(b'b' * 32).hex()} device 6 {number.to_bytes(32).hex()}"
        )
    for state in ("equal", "offline"):
        named = [one.row.id for one in proofs if one.state == state]
        assert sorted(counted(report, state)) == named
    assert report["equal.0"].startswith(f"at {AT} server {ours} device {ours}: ")
    assert "equal.more" not in report
    assert len(events) == 1
    page = run_page(run_of(proofs), 9)
    assert [row["mark"].name for row in page["devices"]][:57] == ["differs"] * 56 + ["offline"]
    assert page["unshown"].startswith("and ")
    assert "Phone 0, Phone 9, Phone 18, Phone 27, Phone 36 and 51 more:" in page["problems"][0]


def test_devices_that_differ_fill_further_events_when_one_is_full() -> None:
    """However many devices differ, none is cut: further events of the same run take them in, and
    the equal ones that find no room are counted (issue 5 point 7, I-20)."""
    alone = [
        proof(n, "equal", (*SERVER, SectionDigest("note", 1, n.to_bytes(32)))) for n in range(400)
    ]
    for one in alone:
        assert one.compared is not None
        one.compared = Compared(AT, one.compared.device, one.compared.device)
    proofs = [proof(n, "differs", held(n)) for n in range(400, 1_000)] + alone
    events = finished_events(run_of(proofs), 9)
    assert [event.run for event in events] == [
        "R1" if part == 1 else f"R1.{part}" for part in range(1, len(events) + 1)
    ]
    assert [event.report["part"] for event in events] == [
        f"{part} of {len(events)}" for part in range(1, len(events) + 1)
    ]
    report = entries_of(events)
    for one in proofs[:600]:
        assert f"device.{one.row.id}" in report
    assert left_out(report) > 0
    assert len(counted(report, "equal")) + left_out(report) == 400


@settings(max_examples=60, deadline=None)
@given(
    states=st.lists(
        st.sampled_from(["equal", "differs", "pending", "silent", "moving", "offline"])
    ),
    sections=st.integers(0, 200),
    problems=st.lists(st.text(max_size=20), max_size=8),
    longest=st.sampled_from([0, TEXT_CHARS_MAX, 3 * TEXT_CHARS_MAX]),
)
def test_nothing_is_silently_lost(
    states: list[str], sections: int, problems: list[str], longest: int
) -> None:
    """Every device of a run is in its result, by name or in a count of equal ones, whatever a
    device says it holds; and every event keeps its bounds (issue 5 point 7, I-20)."""
    made_up = tuple(SectionDigest(f"s{n:03}" * 5, n + 1, bytes(32)) for n in range(sections))
    proofs = [
        proof(n, state, made_up if state != "equal" else SERVER) for n, state in enumerate(states)
    ]
    run = run_of(proofs)
    run.problems += [*problems, "é" * longest] * 30
    events = finished_events(run, 9)
    for event in events:
        assert len(event.report) <= REPORT_ENTRIES_MAX
        size = sum(len(key.encode()) + len(text.encode()) for key, text in event.report.items())
        assert size <= REPORT_BYTES_MAX + 200
        kind, _, body = encode_payload(event)
        assert len(kind) + len(body) < EVENT_BYTES_MAX
    report = entries_of(events)
    troubled = [one for one in proofs if one.troubled]
    assert all(f"device.{one.row.id}" in report for one in troubled)
    away = [one.row.id for one in proofs if one.state == "offline"]
    assert sorted(counted(report, "offline")) == away
    assert len(counted(report, "equal")) + left_out(report) == states.count("equal")


@pytest.fixture
def company(world: World) -> Company:
    return world.company()


@pytest.fixture
def world(tmp_path: Any) -> Any:
    made = World(tmp_path / "data")
    yield made
    made.stop()


def lie(raw: RawDevice, position: int) -> None:
    """Answer for a digest of one customer, until the result of the run has come."""
    wrong = (SectionDigest("customer", 1, bytes(32)),)
    while True:
        frame = raw.receive()
        if isinstance(frame, m.SyncRequest | m.DigestRequest):
            raw.say(m.Digest(position, wrong))
        elif isinstance(frame, m.Events):
            raw.say(m.Cursor(frame.through))
            if any(b"sync.finished" in one.records for one in frame.segments):
                return


def test_a_device_that_differs_is_shown_with_both_sides(
    world: World, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page, the API, the command line and the event say what the server holds and what the
    device holds, section by section, with counts and fingerprints (architecture.md §9)."""
    monkeypatch.setattr(sync_now, "SYNC_MEND_ROUNDS_MAX", 0)
    raw = RawDevice.enrol(world, company, "Till 1")
    written = world.write(company, CustomerCreated("c-1", CustomerFields(name="Acme")))
    raw.meet()
    raw.events_until(written)
    with world.operator(company) as office, ThreadPoolExecutor(1) as aside:
        pressed = aside.submit(office.post, "/sync-now?wait=1")
        lie(raw, written)
        run = pressed.result().json()
    raw.close()
    (told,) = run["devices"]
    assert (told["state"], told["position"], run["equal"]) == ("differs", written, False)
    assert (
        told["device_fingerprint"] == fingerprint([SectionDigest("customer", 1, bytes(32))]).hex()
    )
    assert told["server_fingerprint"] != told["device_fingerprint"]
    sections = {one["section"]: one for one in told["differing"]}
    assert sections["customer"]["device_digest"] == bytes(32).hex()
    assert sections["device"]["device_count"] == 0
    assert sections["device"]["server_count"] == 1
    rows = {row["part"]: row for row in _proofs(run)}
    assert rows["Till 1"]["its fingerprint"] == told["device_fingerprint"][:16]
    assert (rows["Till 1: device"]["count"], rows["Till 1: device"]["on device"]) == (1, 0)
    world.caught_up(company)
    with world.browser(company) as pages:
        text = pages.text("/sync")
    assert "Differs on 1" in text
    assert told["device_fingerprint"][:16] in text
    assert told["server_fingerprint"][:16] in text
    assert f"Customers: server 1, {sections['customer']['server_digest'][:16]}" in text


def test_the_values_of_a_proof_can_be_sent() -> None:
    """What the API says of a device encodes as JSON, compared or not."""
    for state in ("differs", "offline"):
        assert Json(proof_values(proof(1, state, held(1)))).body


def test_an_earlier_result_can_be_read(world: World, company: Company) -> None:
    """A result that needed several events is one earlier run in the list, and its parts can be
    opened one by one, also when the server that made it has ended (SYN-15)."""
    proofs = [proof(n, "differs", held(n)) for n in range(400)]
    events = finished_events(run_of(proofs), 9)
    assert len(events) == 3
    world.write(company, *events)
    world.caught_up(company)
    with world.browser(company) as pages:
        assert pages.text("/sync").count('href="/sync/R1') == 1
        first, last = pages.text("/sync/R1"), pages.text("/sync/R1.3")
        assert pages.get("/sync/R2").status_code == 404
    assert "Phone 0, Phone 9" not in first
    assert f"{0:032x}" in first
    assert f"{399:032x}" in last
    assert 'href="/sync/R1.2"' in last
    assert (b"a" * 32).hex()[:17] not in first
    with world.operator(company) as office:
        told = office.get("/sync-now/R1").json()
        assert told["report"] == events[0].report
        assert office.get("/sync-now/R2").status_code == 404
