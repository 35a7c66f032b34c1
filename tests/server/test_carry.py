"""Work carried by hand: from a device's file, through the door, and back as a receipt."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from replica.device import (
    CustomerCreated,
    CustomerFields,
    Device,
    Mode,
    OrderCancelled,
    StockMoved,
)
from replica.errors import Forbidden, Malformed, MisuseError, StorageFull
from replica.events.event import Position
from replica.events.record import records
from replica.limits import CARRY_FILE_BYTES_MAX
from replica.sync import carry
from tests.device.desk import careless, order
from tests.server.world import Company, World


@pytest.fixture
def device(world: World, company: Company, tmp_path: Path) -> Iterator[Device]:
    """An enrolled device that has synced once and works offline since."""
    with Device.open(tmp_path / "till.db") as made:
        made.enrol(world.url, world.code(company), "Till")
        made.sync()
        yield made


def work_offline(device: Device, name: str) -> None:
    device.append(CustomerCreated(f"c-{name}", CustomerFields(name=name)))
    draft = device.order(customer=f"c-{name}", currency="EUR")
    draft.add("tea", 2, price_e4=10_000).commit()
    device.append(StockMoved("tea", -2_000))


def send(world: World, company: Company, path: Path, query: str = "", status: int = 200) -> Any:
    with world.operator(company) as client:
        answer = client.post(f"/carry{query}", content=path.read_bytes())
    assert answer.status_code == status, answer.text
    return answer.json()


def counts(found: Any) -> tuple[int, int, int]:
    return found["new"], found["known"], found["invalid"]


def receipt_of(found: Any, path: Path) -> Path:
    path.write_bytes(base64.b64decode(found["receipt"]))
    return path


def own(world: World, company: Company, device: Device) -> list[bytes]:
    """Ids of the device's events in the log, in order."""
    assert device.identity is not None
    segments = world.stores.log.read(company.account, Position(0), 10_000_000)
    return [
        record.id
        for segment in segments
        if segment.device == device.identity.device
        for _, record in records(segment)
    ]


def test_a_file_is_previewed_imported_and_answered(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """A preview takes nothing; an import takes everything once; the receipt turns the device's
    rows to synced without a network, and its next sync sends nothing (OFF-15, OFF-16)."""
    work_offline(device, "ann")
    path = tmp_path / "unsent.replica"
    exported = device.export(path)
    assert exported.events == device.status().pending == 3
    assert exported.file == carry.file_sum(path.read_bytes()).hex()
    assert path.stat().st_mode & 0o777 == 0o600
    seen = send(world, company, path, "?preview=1")
    assert counts(seen) == (3, 0, 0)
    one_new = {"new": 1, "known": 0, "invalid": 0}
    assert seen["kinds"] == dict.fromkeys(
        ("customer.created", "order.committed", "stock.moved"), one_new
    )
    assert (seen["name"], seen["file"]) == ("Phone", exported.file)
    assert own(world, company, device) == []
    found = send(world, company, path)
    assert counts(found) == (3, 0, 0)
    taken = device.take_receipt(receipt_of(found, tmp_path / "receipt"))
    assert (taken.synced, taken.quarantined, taken.refused, taken.ignored) == (3, 0, 0, 0)
    status = device.status()
    assert (status.pending, status.mode) == (0, Mode.OFFLINE)
    (sealed,) = device.list("order")
    assert device.ladder(sealed["id"]).state == "on_server"
    result = device.sync()
    assert (result.sent, result.equal) == (0, True)
    assert len(own(world, company, device)) == 3


def test_importing_twice_and_syncing_later_add_nothing(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """The second import finds everything known, with the same receipt; a device that syncs the same
    work itself gets it acknowledged; both files of a growing outbox can be imported (OFF-16)."""
    path, later = tmp_path / "one", tmp_path / "two"
    work_offline(device, "ann")
    device.export(path)
    first = send(world, company, path)
    work_offline(device, "bob")
    device.export(later)
    again = send(world, company, path)
    assert (counts(first), counts(again)) == ((3, 0, 0), (0, 3, 0))
    assert counts(send(world, company, later, "?preview=1")) == (3, 3, 0)
    assert counts(send(world, company, later)) == (3, 3, 0)
    result = device.sync()
    assert (result.sent, result.equal) == (6, True)
    known = own(world, company, device)
    assert len(known) == len(set(known)) == 6
    taken = device.take_receipt(receipt_of(again, tmp_path / "late receipt"))
    assert (taken.synced, taken.ignored) == (0, 3)
    assert device.sync().equal


def test_a_receipt_for_a_part_leaves_the_rest_to_the_sync(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """Work recorded after the export stays unsent; a sync sends exactly that (OFF-16)."""
    work_offline(device, "ann")
    device.export(tmp_path / "file")
    work_offline(device, "bob")
    found = send(world, company, tmp_path / "file")
    device.take_receipt(receipt_of(found, tmp_path / "receipt"))
    assert device.status().pending == 3
    result = device.sync()
    assert (result.sent, result.equal) == (3, True)


def test_outcomes_are_those_of_a_connection(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """An event that breaks a rule is quarantined with cause and fix, in the preview, the answer,
    the office and on the device alike, and stops nothing else (I-19, OFF-16)."""
    good = order(1)
    spoilt = msgspec.structs.replace(good.content, total_minor=1)
    with careless():
        (bad,) = device.append(msgspec.structs.replace(good, content=spoilt))
    device.append(OrderCancelled("o-1", "not today"), StockMoved("tea", 2))
    device.export(tmp_path / "file")
    seen = send(world, company, tmp_path / "file", "?preview=1")
    found = send(world, company, tmp_path / "file")
    assert counts(seen) == counts(found) == (1, 0, 2)
    assert seen["problems"] == found["problems"]
    first, second = found["problems"]
    assert (first["id"], first["about"], first["code"]) == (bad.hex(), "order/o-1", "payload")
    assert (second["kind"], second["code"]) == ("order.cancelled", "waits_on")
    taken = device.take_receipt(receipt_of(found, tmp_path / "receipt"))
    assert (taken.synced, taken.quarantined) == (1, 2)
    rejected = {row.event.hex(): row for row in device.status().rejected}
    assert rejected[first["id"]].fix == first["fix"]
    with world.operator(company) as client:
        office = client.get("/quarantine").json()["rows"]
    assert {row["id"] for row in office} == set(rejected)
    assert device.sync().equal


def test_damage_takes_nothing(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """A file that was cut short, or is none, is a typed error and nothing of it is taken; so is one
    from another account, and one that the device it names did not write (OFF-16, I-7, I-20)."""
    work_offline(device, "ann")
    path = tmp_path / "file"
    device.export(path)
    whole = path.read_bytes()
    spoilt = whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:]
    for damaged in (b"", b"PK\x03\x04", whole[:-1], spoilt):
        path.write_bytes(damaged)
        assert send(world, company, path, status=400)["code"] == "malformed"
    path.write_bytes(whole)
    other = world.company()
    assert send(world, other, path, status=403)["code"] == "forbidden"
    assert device.identity is not None
    work = carry.decode_work(whole)
    chains = [carry.Part(1, 1, tuple(one for part in work.parts for one in part.events))]
    path.write_bytes(carry.encode_work(work.header, chains, carry.file_key("guessed")))
    assert send(world, company, path, status=403)["code"] == "forbidden"
    assert own(world, company, device) == []
    with world.operator(company) as client:
        too_much = client.post("/carry", content=bytes(CARRY_FILE_BYTES_MAX + 1))
    assert too_much.status_code == 413


def test_a_large_file_goes_through(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """A file far above what other requests may hold is taken, in pushes one after the other
    (OFF-14, OFF-15)."""
    notes = [StockMoved("tea", n, reason=f"{n:x}" * 40) for n in range(1, 2_000)]
    device.append(*notes)
    exported = device.export(tmp_path / "file")
    assert exported.bytes > 65_536
    found = send(world, company, tmp_path / "file")
    assert counts(found) == (1_999, 0, 0)
    assert device.take_receipt(receipt_of(found, tmp_path / "receipt")).synced == 1_999
    assert device.sync().equal


def test_work_of_a_revoked_device_is_taken_on_purpose_only(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """A revoked device can still export; the preview says that it was revoked, an import refuses
    until somebody says to take it, and then nothing is lost (S-9, OFF-16)."""
    work_offline(device, "ann")
    assert device.identity is not None
    name = device.identity.device.hex()
    world.on_loop(lambda: world.runtime.devices.revoke(company.account, name))
    device.export(tmp_path / "file")
    assert send(world, company, tmp_path / "file", "?preview=1")["revoked"] is True
    assert send(world, company, tmp_path / "file", status=403)["code"] == "revoked"
    assert own(world, company, device) == []
    found = send(world, company, tmp_path / "file", "?revoked=1")
    assert counts(found) == (3, 0, 0)
    assert device.take_receipt(receipt_of(found, tmp_path / "receipt")).synced == 3


def test_a_gap_and_a_fork_stop_with_words(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """A file whose beginning the log lacks says to export everything, and that file is taken; a
    copy's file that contradicts the log stops where it does (I-5, OFF-16)."""
    work_offline(device, "ann")
    device.export(tmp_path / "first")
    assert send(world, company, tmp_path / "first", "?preview=1")["stopped"] is None
    work = carry.decode_work((tmp_path / "first").read_bytes())
    assert device.identity is not None
    key = carry.file_key(device.identity.token)
    events = work.parts[0].events
    without = msgspec.structs.replace(work.header, events=2)
    gap = tmp_path / "gap"
    gap.write_bytes(carry.encode_work(without, [carry.Part(1, 2, events[1:])], key))
    for query in ("?preview=1", ""):
        stopped = send(world, company, gap, query)
        assert (counts(stopped), stopped["stopped"]["code"]) == ((0, 0, 0), "gap")
    device.export(tmp_path / "all", everything=True)
    assert counts(send(world, company, tmp_path / "all")) == (3, 0, 0)
    fork = tmp_path / "fork"
    fork.write_bytes(carry.encode_work(without, [carry.Part(1, 2, (events[2], events[1]))], key))
    for query in ("?preview=1", ""):
        stopped = send(world, company, fork, query)
        assert (counts(stopped), stopped["stopped"]["code"]) == ((0, 0, 0), "forked")
    device.take_receipt(receipt_of(send(world, company, tmp_path / "all"), tmp_path / "receipt"))
    assert device.sync().equal


def test_everything_leaves_out_what_was_said_again(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """After a fork the file with everything holds each fact once: what the next epoch says again is
    not in the chain of the last (I-1, I-2, OFF-15)."""
    work_offline(device, "ann")
    device.sync()
    work_offline(device, "bob")
    device._holding.fork(2)
    exported = device.export(tmp_path / "all", everything=True)
    assert exported.events == 6
    work = carry.decode_work((tmp_path / "all").read_bytes())
    assert [(part.epoch, part.first_seq, len(part.events)) for part in work.parts] == [
        (1, 1, 3),
        (2, 1, 3),
    ]
    found = send(world, company, tmp_path / "all")
    assert counts(found) == (3, 3, 0)
    taken = device.take_receipt(receipt_of(found, tmp_path / "receipt"))
    assert (taken.synced, taken.ignored) == (3, 3)
    assert device.sync().equal


def test_a_receipt_is_taken_by_the_device_it_is_for(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """Another device's receipt, a forged one, a damaged one, one for a copy that wrote something
    else: each a typed error, and nothing changes (OFF-16, I-7)."""
    work_offline(device, "ann")
    device.export(tmp_path / "file")
    found = send(world, company, tmp_path / "file")
    path = receipt_of(found, tmp_path / "receipt")
    with Device.open(tmp_path / "other.db") as other:
        with pytest.raises(MisuseError):
            other.take_receipt(path)
        with pytest.raises(MisuseError):
            other.export(tmp_path / "nothing")
        other.enrol(world.url, world.code(company), "Other")
        work_offline(other, "ann")
        with pytest.raises(Forbidden):
            other.take_receipt(path)
        assert other.status().pending == 3
    receipt = carry.decode_receipt(path.read_bytes())
    forged = tmp_path / "forged"
    forged.write_bytes(carry.encode_receipt(receipt.header, receipt.answers, bytes(32)))
    with pytest.raises(Forbidden):
        device.take_receipt(forged)
    with pytest.raises(Malformed):
        device.take_receipt(tmp_path / "file")
    assert device.identity is not None
    (answered,) = receipt.answers
    foreign = carry.Answered(1, 1, bytes(32), answered.verdicts)
    key = carry.file_key(device.identity.token)
    forged.write_bytes(carry.encode_receipt(receipt.header, [foreign], key))
    with pytest.raises(MisuseError, match="does not have"):
        device.take_receipt(forged)
    assert device.status().pending == 3
    assert device.take_receipt(path).synced == 3
    with pytest.raises(MisuseError, match="nothing to carry"):
        device.export(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_file_that_cannot_be_written_leaves_the_old_one(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is told, and the file of before is untouched (D4)."""
    work_offline(device, "ann")
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageFull):
        device.export(path)
    monkeypatch.undo()
    assert path.read_bytes() == b"before"
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".part"] == []


def test_who_may_not_manage_devices_may_not_import(
    world: World, company: Company, device: Device, tmp_path: Path
) -> None:
    """Without a login, and for a role that does not manage devices, nothing is read (S8)."""
    work_offline(device, "ann")
    device.export(tmp_path / "file")
    answer = httpx2.post(f"{world.url}/api/v1/carry", content=(tmp_path / "file").read_bytes())
    assert answer.status_code == 401
