"""Documents in bulk from a running server: first sync, long absence, and who may have them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

import replica.device.chunks
import replica.device.fetch
import replica.server.chunks
from replica.device import CustomerCreated, CustomerDeleted, CustomerFields, Device, SyncResult
from replica.errors import PeerGone
from replica.limits import CHUNKED_LAYERS_MAX
from replica.sync.chunks import Manifest, decode_manifest, open_chunk
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
    real = replica.device.fetch._get

    def fragile(http: Any, identity: Any, path: str, most: int) -> tuple[int, bytes]:
        wanted.append(path.split("?", maxsplit=1)[0])
        if len(wanted) == 3:
            raise ConnectionResetError("cut")
        return real(http, identity, path, most)

    monkeypatch.setattr(replica.device.fetch, "_get", fragile)
    device.start()
    synced(device)
    manifest, first, second, again = wanted[:4]
    assert manifest == "snapshot"
    assert second == again != first
    assert len(wanted) == len(set(wanted)) + 1


def test_chunks_that_vanish_leave_the_log(
    world: World, company: Company, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are a cache: a server that lost them under a device serves the log instead."""
    write(world, company, 0, 30)
    real = replica.device.fetch._get

    def vanishing(http: Any, identity: Any, path: str, most: int) -> tuple[int, bytes]:
        answer = real(http, identity, path, most)
        shutil.rmtree(world.runtime.chunks.file(company.account, ""), ignore_errors=True)
        return answer

    monkeypatch.setattr(replica.device.fetch, "_get", vanishing)
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
