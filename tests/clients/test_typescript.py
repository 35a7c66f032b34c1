"""The TypeScript client against real servers: what docs/wire-protocol.md promises, in a second
language, with processes that are killed at bad moments."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from shutil import copytree, rmtree

import pytest

from replica.device import CustomerCreated, CustomerFields, Device
from replica.sync import carry
from tests.acceptance.running import Server, running
from tests.acceptance.wire_client import enrol as enrol_notebook
from tests.acceptance.wire_client import exchange
from tests.acceptance.wire_format import next_stamp, pack
from tests.clients.driving import CLIENT, Driven, Refused, node

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server"))
    with running(one):
        yield one


def enrolled(server: Server, path: Path, name: str, *, ahead_ms: int = 0) -> Driven:
    """A new client with an identity."""
    driven = Driven(path, ahead_ms=ahead_ms)
    driven.identity = driven.ask("enrol", url=server.url, code=server.code(name), name=name)
    return driven


def order(driven: Driven, name: str, cause: str) -> str:
    """An order of one line for customer ``name``, naming the event that made them."""
    line = ["1", "p-1", 6_000, 25_500, "Heart holder"]
    content = {
        "number": name,
        "customer": f"c-{name}",
        "currency": "USD",
        "date": "2026-03-01",
        "lines": [line],
        "shipping_minor": 499,
        "offline": True,
    }
    total = driven.ask("total", content=content)
    payload = {"order": f"o-{name}", "content": {**content, "total_minor": total}}
    return str(driven.ask("record", kind="order.committed", payload=payload, deps=[cause]))


def customer(driven: Driven, name: str) -> str:
    payload = {"customer": f"c-{name}", "fields": {"name": f"Łódź {name}", "tax_exempt": False}}
    return str(driven.ask("record", kind="customer.created", payload=payload))


def take_order(driven: Driven, name: str) -> list[str]:
    created = customer(driven, name)
    return [created, order(driven, name, created)]


def ids(driven: Driven) -> list[str]:
    """Ids of everything that stands in the log as this client knows it, in order of arrival."""
    return [one["id"] for one in driven.ask("records")]


def log_ids(server: Server) -> list[str]:
    """Ids of everything in the server's log, from a fresh device."""
    book = enrol_notebook(server.url, server.code("Auditor"), "Auditor")
    exchange(server.url, book, lambda: 0)
    return [one.hex() for one in book.records]


def test_the_clients_own_tests_pass() -> None:
    """Vectors, catalogue, storages and sessions of the client agree with the page, in node
    (SYN-17, I-13)."""
    said = node("--test", "--test-reporter=tap", *map(str, sorted(CLIENT.glob("test/*.test.ts"))))
    assert "\n# fail 0\n" in said


def test_nothing_in_the_client_escapes_the_types() -> None:
    """No source of the client says `any`, switches a check off, or names a platform in its core."""
    for path in sorted((CLIENT / "src").rglob("*.ts")):
        text = path.read_text()
        assert not re.search(r"(:|<|as|\|) any\b|@ts-|eslint", text), path.name
        assert 'from "node:' not in text or path.name == "sqlite.ts", path.name


def test_work_recorded_offline_survives_a_killed_server(server: Server, tmp_path: Path) -> None:
    """Two TypeScript clients and a Python device hold the same events and digests after the server
    was killed in the middle of the first sync; nothing is lost, none doubled (SYN-23, I-1, I-2)."""
    with enrolled(server, tmp_path / "one.db", "One") as one:
        mine = [event for number in range(40) for event in take_order(one, f"a{number}")]
        assert one.ask("status")["pending"] == 80
        one.ask("connect")
        one.ask("until", status={"mode": "online"})
        server.process.child.kill()
        server.stop()
        mine += take_order(one, "while-down")
        with pytest.raises(Refused) as refused:
            one.ask("sync")
        assert refused.value.code == "peer_gone"
        server.start()
        with (
            enrolled(server, tmp_path / "two.db", "Two") as two,
            Device.open(tmp_path / "python.db") as device,
        ):
            device.enrol(server.url, server.code("Python"), "Python")
            mine += take_order(two, "b")
            said = device.append(CustomerCreated("c-py", CustomerFields(name="Teahouse")))
            one.ask("until", status={"pending": 0})
            for syncing in (one, two, one):
                assert syncing.ask("sync")["equal"]
            assert device.sync().equal
            assert one.ask("sync")["equal"]
            assert two.ask("sync")["equal"]
            known = ids(one)
            assert len(known) == len(set(known)), "an event stands twice"
            assert {*mine, said[0].hex()} <= set(known)
            assert sorted(ids(two)) == sorted(known)
            digests = [
                {"section": name, "count": count, "digest": digest.hex()}
                for name, count, digest in device.digest()
            ]
            assert one.ask("digest") == two.ask("digest") == digests
            for client in (one, two):
                status = client.ask("status")
                assert (status["pending"], status["level"]) == (0, True)


def test_a_client_that_is_killed_while_recording_keeps_what_it_said(
    server: Server, tmp_path: Path
) -> None:
    """After SIGKILL in the middle of recording the storage opens, holds every event whose record
    resolved, in a chain without gaps, and syncs each once (OFF-07, I-1, I-5)."""
    path = tmp_path / "killed.db"
    one = enrolled(server, path, "Killed")
    for _ in range(3):
        one.tell("recordWithoutEnd")
        durable = 0
        while durable < 40:
            durable = one.answer()
        one.kill()
        one = Driven(path)
        assert one.ask("status")["pending"] >= durable
    with one:
        pending = one.ask("status")["pending"]
        assert one.ask("sync")["sent"] == pending
        own = [row for row in one.ask("records") if row["device"] == one.identity["device"]]
        assert [row["seq"] for row in own] == list(range(1, pending + 1))
        numbers = [row["payload"]["qty_e3"] for row in own]
        assert sum(number == 1 for number in numbers) == 3
        assert one.ask("sync")["sent"] == 0
        known = log_ids(server)
        assert {row["id"] for row in own} <= set(known)


def test_a_client_that_is_killed_while_syncing_goes_on_where_it_was(
    server: Server, tmp_path: Path
) -> None:
    """SIGKILL at some moment of a sync, several times, and the next process completes it
    (SYN-23, I-2, I-3)."""
    path = tmp_path / "tunnel.db"
    one = enrolled(server, path, "Tunnel")
    mine: list[str] = []
    for number in range(4):
        facts = [
            {"kind": "stock.moved", "payload": {"product": f"p-{number}", "qty_e3": step}}
            for step in range(1, 200)
        ]
        mine += one.ask("recordAll", facts=facts)
        one.ask("connect")
        one.ask("until", status={"mode": "online"})
        one.kill()
        one = Driven(path)
    with one:
        assert one.ask("sync")["equal"]
        known = ids(one)
        assert len(known) == len(set(known))
        assert set(mine) <= set(known)


def test_what_breaks_a_rule_is_never_saved(server: Server, tmp_path: Path) -> None:
    """A payload that breaks a rule is refused with the field's name before anything is saved, and
    a device says nothing that is the sink's to say (I-19, SYN-17)."""
    with enrolled(server, tmp_path / "odd.db", "Odd") as one:
        with pytest.raises(Refused, match="at least one field") as refused:
            one.ask("record", kind="customer.changed", payload={"customer": "c-1", "fields": {}})
        assert refused.value.code == "misuse"
        with pytest.raises(Refused, match=r"stock.moved.qty_e3: .* without a fraction"):
            one.ask("record", kind="stock.moved", payload={"product": "p", "qty_e3": 1.5})
        with pytest.raises(Refused, match="not a device's to say"):
            one.ask("record", kind="order.parked", payload={})
        assert one.ask("status")["pending"] == 0


def test_a_quarantined_event_is_shown_with_its_cause_and_fix(
    server: Server, tmp_path: Path
) -> None:
    """What waits on somebody's quarantined event is not lost: it is shown with reason and fix, and
    holds nothing else up (I-19)."""
    book = enrol_notebook(server.url, server.code("Odd"), "Odd")
    floats = pack({"customer": "c-odd", "fields": {"name": 1.5}})
    cause = book.add("customer.created", floats, next_stamp(book.stamp, 1, book.device[8:])).hex()
    exchange(server.url, book, lambda: 1)
    with enrolled(server, tmp_path / "even.db", "Even") as one:
        waiting = order(one, "odd", cause)
        created = customer(one, "even")
        result = one.ask("sync")
        assert (result["sent"], result["quarantined"], result["equal"]) == (2, 1, True)
        (row,) = one.ask("rejected")
        assert (row["id"], row["about"]) == (waiting, "order/o-odd")
        assert (row["state"], row["code"]) == ("quarantined", "waits_on")
        assert row["reason"]
        assert row["fix"].startswith("Correct the event it waits on")
        status = one.ask("status")
        assert (status["quarantined"], status["acknowledged"]) == (1, 1)
        assert created in ids(one)
        assert waiting not in ids(one)


def test_a_wrong_clock_is_told_in_words_and_corrected(server: Server, tmp_path: Path) -> None:
    """A clock an hour ahead is measured, shown, and its events get the corrected time at the author
    and everywhere (CON-08, I-8)."""
    with (
        enrolled(server, tmp_path / "fast.db", "Fast", ahead_ms=3_600_000) as fast,
        enrolled(server, tmp_path / "exact.db", "Exact") as exact,
    ):
        fast.ask("connect")
        fast.ask("until", status={"mode": "online"})
        assert fast.ask("sync")["equal"]
        fast.ask("disconnect")
        mine = take_order(fast, "fast")
        assert fast.ask("sync")["equal"]
        status = fast.ask("status")
        assert "ahead of the server's" in status["skewText"]
        assert exact.ask("sync")["equal"]
        told = {row["id"]: row["tag"] for row in fast.ask("records")}
        assert {row["id"]: row["tag"] for row in exact.ask("records")} == told
        ahead = [row for row in exact.ask("records") if row["id"] in mine]
        assert all(row["atMs"] <= row["receivedMs"] + 2_000 for row in ahead)


def test_a_copied_storage_goes_on_under_the_next_epoch(server: Server, tmp_path: Path) -> None:
    """Two copies of one storage that recorded different events both keep them: the later one says
    its own again in the next epoch (SYN-17, I-5)."""
    path, copy = tmp_path / "original.db", tmp_path / "copy.db"
    with enrolled(server, path, "Original") as one:
        before = take_order(one, "before")
        assert one.ask("sync")["equal"]
    copy.write_bytes(path.read_bytes())
    with Driven(path) as one, Driven(copy) as two:
        mine = take_order(one, "original")
        assert one.ask("sync")["equal"]
        customer(two, "copy")
        assert two.ask("sync")["equal"]
        assert one.ask("sync")["equal"]
        rows = two.ask("records")
        known = [row["id"] for row in rows]
        assert len(known) == len(set(known))
        assert {*before, *mine} <= set(known)
        said = [row for row in rows if row["known"] and row["payload"].get("customer") == "c-copy"]
        assert [(row["epoch"], row["seq"]) for row in said] == [(2, 1)]
        assert set(ids(one)) == set(known)


def test_a_server_restored_from_a_backup_gets_everything_again(
    server: Server, tmp_path: Path
) -> None:
    """The log went back behind what a client knows: it starts over, offers again what was
    forgotten, and ends equal with nothing doubled (SYN-24, I-1, D5)."""
    with enrolled(server, tmp_path / "restored.db", "Restored") as one:
        mine = take_order(one, "early")
        assert one.ask("sync")["equal"]
        server.stop()
        copytree(server.data, tmp_path / "backup")
        server.start()
        mine += take_order(one, "late")
        assert one.ask("sync")["equal"]
        history = one.ask("status")["history"]
        server.stop()
        rmtree(server.data)
        copytree(tmp_path / "backup", server.data)
        server.start()
        assert one.ask("sync")["equal"]
        assert one.ask("status")["history"] > history
        known = ids(one)
        assert len(known) == len(set(known))
        assert set(mine) <= set(known)
    assert set(mine) <= set(log_ids(server))


def test_a_revoked_client_rests_and_keeps_its_work(server: Server, tmp_path: Path) -> None:
    """A device that was shut out is told so, rests, and keeps what is unsent; enrolled again it
    says that as the new device; a used code is refused with words (S-9, I-7)."""
    with enrolled(server, tmp_path / "out.db", "Out") as one:
        assert one.ask("sync")["equal"]
        server.call("POST", f"/api/v1/devices/{one.identity['device']}/revoke", {})
        created = take_order(one, "out")
        with pytest.raises(Refused) as refused:
            one.ask("sync")
        assert refused.value.code == "revoked"
        status = one.ask("status")
        assert (status["mode"], status["pending"]) == ("revoked", 2)
        code = server.code("Back")
        assert one.ask("enrol", url=server.url, code=code, name="Back") != one.identity
        assert one.ask("sync")["equal"]
        rows = [row for row in one.ask("records") if row["known"]]
        assert [row["payload"].get("order") for row in rows].count("o-out") == 1
        assert not set(created) & set(ids(one)), "they are new events of the new device"
        with pytest.raises(Refused) as refused:
            one.ask("enrol", url=server.url, code=code, name="Again")
        assert refused.value.code == "forbidden"


def test_work_goes_home_in_a_file(server: Server, tmp_path: Path) -> None:
    """What the client exports is imported through the door like any device's file; its receipt
    turns the rows to synced, and a later sync finds everything known (OFF-15, OFF-16)."""
    file, receipt = tmp_path / "unsent.replica", tmp_path / "receipt"
    with enrolled(server, tmp_path / "carried.db", "Carried") as one:
        assert one.ask("sync")["equal"]
        mine = take_order(one, "carried")
        one.ask("export", path=str(file))
        work = carry.decode_work(file.read_bytes())
        assert [(part.epoch, part.first_seq) for part in work.parts] == [(1, 1)]
        assert [sha256(event).hexdigest() for event in work.parts[0].events] == mine
        found = server.send_file("/api/v1/carry", file.read_bytes())
        assert (found["new"], found["known"], found["invalid"]) == (2, 0, 0)
        receipt.write_bytes(base64.b64decode(found["receipt"]))
        taken = one.ask("takeReceipt", path=str(receipt))
        assert taken == {"synced": 2, "quarantined": 0, "refused": 0, "ignored": 0}
        assert one.ask("takeReceipt", path=str(receipt))["ignored"] == 2
        assert (one.ask("status")["pending"], one.ask("status")["acknowledged"]) == (0, 2)
        mine += take_order(one, "afterwards")
        result = one.ask("sync")
        assert (result["sent"], result["equal"]) == (2, True)
        one.ask("export", path=str(file), scope="everything")
        again = server.send_file("/api/v1/carry", file.read_bytes())
        assert (again["new"], again["known"]) == (0, 4)
        with pytest.raises(Refused, match="nothing to carry"):
            one.ask("export", path=str(file))
        known = ids(one)
        assert len(known) == len(set(known))
        assert set(mine) <= set(known)


def test_the_example_of_the_readme_does_what_its_comments_say(
    server: Server, tmp_path: Path
) -> None:
    """With address and code of a server put in, the example prints what stands beside it."""
    (example,) = re.findall(r"```ts\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    program = (
        example.replace("http://127.0.0.1:8080", server.url)
        .replace("K7QW-M3ZF", server.code("Till 2"))
        .replace("till.db", str(tmp_path / "till.db"))
    )
    said = node("--input-type=module-typescript", "-", given=program)
    printed = [line.split("//")[1].strip() for line in example.splitlines() if "console." in line]
    assert said.splitlines() == printed
