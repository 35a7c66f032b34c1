"""Documents in bulk from a running server: first sync, long absence, and who may have them."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest

import replica.device.chunks
import replica.device.fetch
import replica.device.link
import replica.server.chunks
import replica.sync.chunks
from replica.device import (
    CustomerChanged,
    CustomerCreated,
    CustomerDeleted,
    CustomerFields,
    Device,
    Mode,
    ProductChanged,
    ProductCreated,
    ProductFields,
    SyncResult,
)
from replica.device.asking import Answer, Server
from replica.device.enrolment import sync_url
from replica.errors import InUse, PeerGone, ReplicaError, StorageFull, StoreUnavailable
from replica.limits import CHUNK_FAILURES_MAX, CHUNKED_LAYERS_MAX, LOCAL_EVENTS_MAX
from replica.server.door import WEB
from replica.sync.chunks import Manifest, decode_manifest, inflate_chunk, open_chunk
from replica.sync.columns import Unpacker, numbers
from replica.sync.frozen import COMPUTED, PLACED, TOLD
from tests.server.world import Company, World


@pytest.fixture(autouse=True)
def few_events_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten events are worth a layer here."""
    monkeypatch.setattr(replica.server.chunks, "CHUNKED_EVENTS_MIN", 10)
    monkeypatch.setattr(replica.device.chunks, "CHUNKED_EVENTS_MIN", 10)


def write(world: World, company: Company, first: int, count: int) -> None:
    world.write(
        company,
        *(
            CustomerCreated(f"c-{number}", CustomerFields(name=f"Customer {number}"))
            for number in range(first, first + count)
        ),
    )


@pytest.fixture
def device(world: World, company: Company, tmp_path: Path) -> Iterator[Device]:
    """An enrolled device that has never connected."""
    with Device.open(tmp_path / "phone.db") as made:
        made.enrol(world.url, world.code(company), "phone")
        yield made


def token(device: Device) -> str:
    identity = device._holding.journal.identity
    assert identity is not None
    return identity.token


def ask(world: World, secret: str, path: str, **headers: str) -> httpx2.Response:
    return httpx2.get(
        f"{world.url}/api/v1/{path}",
        headers={"authorization": f"Bearer {secret}", **headers},
        timeout=30,
    )


def manifest_of(world: World, device: Device) -> Manifest:
    answer = ask(world, token(device), "snapshot")
    assert answer.status_code == 200
    return decode_manifest(answer.content)


def synced(device: Device) -> SyncResult:
    result = device.sync(timeout_s=30)
    assert result.equal
    return result


def test_first_sync_comes_in_bulk_and_is_proved(
    world: World, company: Company, device: Device
) -> None:
    """A fresh device of a large account takes documents instead of events, ends with the server's
    digest and follows the log from there (SYN-01, SYN-03)."""
    write(world, company, 0, 60)
    device.start()
    result = synced(device)
    assert result.received < 10
    assert sum(1 for _ in device.list("customer")) == 60
    write(world, company, 60, 3)
    synced(device)
    assert sum(1 for _ in device.list("customer")) == 63


def test_long_absence_is_made_good_in_bulk(world: World, company: Company, device: Device) -> None:
    """A device that comes back far behind takes what changed in bulk; the layers it has are not
    sent again (SYN-02)."""
    write(world, company, 0, 30)
    device.start()
    synced(device)
    device.stop()
    write(world, company, 30, 40)
    world.write(company, CustomerDeleted("c-1"))
    device.start()
    assert synced(device).received < 10
    assert sum(1 for _ in device.list("customer")) == 69


def test_deleted_and_urgent_documents_come_first(
    world: World, company: Company, device: Device
) -> None:
    """The first chunk of customers is the one of those that are gone (issue: priority order)."""
    write(world, company, 0, 20)
    world.write(company, CustomerDeleted("c-7"))
    found = manifest_of(world, device)
    (first, *_) = (chunk for chunk in found.chunks() if chunk.section == "customer")
    data = ask(world, token(device), f"chunks/{first.sha256}").content
    assert [one.id for one in open_chunk(first, data)] == ["c-7"]


def test_a_broken_transfer_resumes_where_it_stopped(
    world: World,
    company: Company,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When the connection is lost between two chunks, the next try asks for the second one only
    (SYN-01)."""
    write(world, company, 0, 30)
    wanted: list[str] = []
    real = Server.ask

    def fragile(server: Server, path: str, most: int) -> Answer:
        wanted.append(path.split("?", maxsplit=1)[0])
        if len(wanted) == 3:
            raise ConnectionResetError("cut")
        return real(server, path, most)

    monkeypatch.setattr(Server, "ask", fragile)
    device.start()
    synced(device)
    manifest, first, second, again = wanted[:4]
    assert manifest == "snapshot"
    assert second == again != first
    assert len(wanted) == len(set(wanted)) + 1


@pytest.mark.parametrize(
    "error", [StorageFull("no room"), StoreUnavailable("not now"), InUse("a backup runs")]
)
def test_a_journal_that_cannot_take_a_chunk_is_tried_again(
    world: World,
    company: Company,
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    error: ReplicaError,
) -> None:
    """A full or busy disk in the middle of a first sync ends nothing: the link says so, comes back
    and goes on with the same chunk (OFF-12, SYN-01)."""
    write(world, company, 0, 30)
    real = replica.device.chunks.Import.take
    failures = [error]

    def take(running: replica.device.chunks.Import, data: bytes) -> None:
        if failures:
            raise failures.pop()
        real(running, data)

    monkeypatch.setattr(replica.device.chunks.Import, "take", take)
    device.start()
    assert synced(device).received < 10
    assert not failures


def test_bulk_is_not_given_up_while_nobody_answers(
    world: World, company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that was started without a network still takes documents in bulk when there is one,
    however often it tried before (SYN-01, OFF-01)."""
    write(world, company, 0, 30)
    tries = iter(range(3 * CHUNK_FAILURES_MAX))

    def dial(url: str) -> str:
        return sync_url(url) if next(tries, None) is None else "ws://127.0.0.1:9"

    def ask(server: Server, path: str, most: int) -> Answer:
        if next(tries, None) is not None:
            raise ConnectionRefusedError("no network")
        return really(server, path, most)

    really = Server.ask
    monkeypatch.setattr(replica.device.link, "sync_url", dial)
    monkeypatch.setattr(Server, "ask", ask)
    with Device.open(tmp_path / "car.db", random_bytes=bytes) as device:
        device.enrol(world.url, world.code(company), "phone")
        device.start()
        device.wait_until(lambda status: status.mode is Mode.ONLINE)
        assert synced(device).received < 10


def test_documents_that_no_chunk_holds_leave_the_log(
    world: World, company: Company, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document too large for a chunk means that there is nothing in bulk, said in the log of the
    server, and the device gets everything from the log (wire-protocol.md §12)."""
    write(world, company, 0, 30)
    monkeypatch.setattr(replica.sync.chunks, "CHUNK_RAW_BYTES_MAX", 100)
    assert ask(world, token(device), "snapshot").status_code == 204
    assert world.line(lambda line: line["event"] == "nothing in bulk")["account"]
    device.start()
    assert synced(device).received >= 30


def test_chunks_that_vanish_leave_the_log(
    world: World, company: Company, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are a cache: a server that lost them under a device serves the log instead."""
    write(world, company, 0, 30)
    real = Server.ask

    def vanishing(server: Server, path: str, most: int) -> Answer:
        answer = real(server, path, most)
        shutil.rmtree(world.runtime.chunks.file(company.account, ""), ignore_errors=True)
        return answer

    monkeypatch.setattr(Server, "ask", vanishing)
    device.start()
    assert synced(device).received >= 30


def test_layers_are_extended_and_made_one_again(
    world: World, company: Company, device: Device
) -> None:
    """New events become a new layer on top of frozen ones, and when there are too many all become
    one; files that no manifest names are removed."""
    chunks = world.runtime.chunks
    counts, files = [], []
    for number in range(CHUNKED_LAYERS_MAX + 1):
        write(world, company, number * 20, 20)
        found = manifest_of(world, device)
        counts.append(len(found.layers))
        files.append({chunk.sha256 for chunk in found.chunks()})
    assert counts == [*range(1, CHUNKED_LAYERS_MAX + 1), 1]
    assert files[0] < files[1]
    write(world, company, 1_000, 40)
    manifest_of(world, device)
    kept = {path.name for path in chunks.file(company.account, "").iterdir()}
    gone = files[0] - files[-1]
    assert gone
    assert not kept & gone


def how_ids_come(world: World, device: Device) -> list[Counter[int]]:
    """Of the events that made the customers of each chunk, oldest layer first."""
    found = []
    for info in manifest_of(world, device).chunks():
        if info.section == "customer":
            data = ask(world, token(device), f"chunks/{info.sha256}").content
            (*_, table) = inflate_chunk(info, data).tables  # by kind: created behind changed
            rows = Unpacker().unpack(table.how, info.count)
            found.append(Counter(numbers(rows)))
    return found


def test_ids_of_events_that_follow_each_other_are_not_sent(
    world: World, company: Company, device: Device
) -> None:
    """Of documents that one device made one after the other only the id of the first event is sent,
    the others are computed; in a newer layer those from before it are sent; the device ends with
    the server's digest all the same (SYN-01, SYN-03)."""
    write(world, company, 0, 60)
    assert how_ids_come(world, device) == [{PLACED: 1, COMPUTED: 59}]
    fields = CustomerFields(phone="1")
    world.write(company, *(CustomerChanged(f"c-{number}", fields) for number in range(20)))
    write(world, company, 60, 20)
    assert how_ids_come(world, device)[1:] == [{TOLD: 20, COMPUTED: 20}]
    device.start()
    assert synced(device).received < 10


def test_a_manifest_of_another_format_is_made_anew(
    world: World, company: Company, device: Device
) -> None:
    """Chunks of another format that an older server has left are not handed out: new ones take
    their place (wire-protocol.md §12)."""
    write(world, company, 0, 20)
    path = world.runtime.chunks.file(company.account, replica.server.chunks.MANIFEST_FILE)
    manifest_of(world, device)
    path.write_bytes(path.read_bytes().replace(b'"format":2', b'"format":1'))
    made = manifest_of(world, device)
    assert [layer.after for layer in made.layers] == [0]
    assert decode_manifest(path.read_bytes()).position == made.position


def test_only_devices_of_the_account_get_its_chunks(
    world: World, company: Company, device: Device
) -> None:
    """Without a token, with a wrong or revoked one, or with one of another account there is
    nothing to be had, not even by name (I-16, S-rules of the token)."""
    write(world, company, 0, 20)
    name = manifest_of(world, device).chunks()[0].sha256
    path = f"chunks/{name}"
    assert ask(world, token(device), path).status_code == 200
    assert httpx2.get(f"{world.url}/api/v1/{path}").status_code == 403
    assert ask(world, "wrong", path).status_code == 403
    assert ask(world, token(device), "chunks/..%2fmanifest.json").status_code == 404
    assert ask(world, token(device), "chunks/manifest.json").status_code == 400
    with Device.open(world.config.data / "other.db") as other:
        other.enrol(world.url, world.code(world.company()), "other")
        assert ask(world, token(other), path).status_code == 404
        assert ask(world, token(other), "snapshot").status_code == 204
    identity = device._holding.journal.identity
    assert identity is not None
    world.on_loop(lambda: world.runtime.devices.revoke(company.account, identity.device.hex()))
    assert ask(world, token(device), path).status_code == 403


def test_a_chunk_can_be_had_in_parts(world: World, company: Company, device: Device) -> None:
    """A transfer cut at any byte can go on at that byte: ranges are answered from the file."""
    write(world, company, 0, 20)
    path = f"chunks/{manifest_of(world, device).chunks()[0].sha256}"
    whole = ask(world, token(device), path).content
    part = ask(world, token(device), path, range="bytes=10-19")
    assert (part.status_code, part.content) == (206, whole[10:20])


@pytest.mark.parametrize("query", ["cursor=10&chain=00&log_id=00&generation=1", "cursor=-1"])
def test_another_history_and_nonsense_get_nothing(
    world: World, company: Company, device: Device, query: str
) -> None:
    """A cursor of another log is answered 204, as the websocket knows how to repair that; what is
    no cursor at all is answered 400."""
    write(world, company, 0, 20)
    answer = ask(world, token(device), f"snapshot?{query}")
    assert answer.status_code == (400 if "-1" in query else 204)


def test_unreachable_server_is_told_like_any_other_loss(tmp_path: Path) -> None:
    """Fetching from nobody raises PeerGone and keeps what is there."""
    with Device.open(tmp_path / "alone.db") as device:
        device._holding.enrol(
            replica.device.Identity(bytes(16), bytes(16), "secret", "phone", "http://127.0.0.1:9")
        )
        with pytest.raises(PeerGone):
            replica.device.fetch.fetch(
                device._holding, stopping=lambda: False, progress=lambda _: None
            )


PRODUCTS = 4_000


def test_one_changed_product_of_a_large_catalogue_costs_little(
    world: World, company: Company, device: Device
) -> None:
    """A device that holds a large catalogue gets one change of it in under 5 KB on the wire, both
    ways and with the proof, however large it is (SYN-02, pitfalls P39)."""
    for first in range(0, PRODUCTS, LOCAL_EVENTS_MAX):
        numbers = range(first, first + LOCAL_EVENTS_MAX)
        fields = (ProductFields(name=f"Product {n}", sku=f"S{n}", price_e4=n) for n in numbers)
        said = list(map(ProductCreated, (f"p-{n}" for n in numbers), fields))
        world.on_loop(partial(world.runtime.door.submit_local, company.account, WEB, said))
    synced(device)
    position = world.write(company, ProductChanged("p-7", ProductFields(price_e4=20_000)))
    synced(device)
    assert device.price_e4("p-7") == 20_000
    last = world.line(
        lambda line: line["event"] == "connection" and line["confirmed_position"] == position
    )
    assert 0 < last["sent_bytes"] + last["received_bytes"] < 5_000
