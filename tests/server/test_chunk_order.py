"""The order in which documents in bulk come to a device, from a running server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest

import replica.sync.chunks
from replica.crdt.documents import DocKey
from replica.crdt.priority import Priority, priority
from replica.device import (
    CustomerDeleted,
    Device,
    OrderCommitted,
    PaymentRecorded,
    ProductCreated,
    ProductFields,
    StockMoved,
)
from replica.device.base import Base, Change
from replica.device.status import Progress
from replica.events.record import Record
from replica.server.stores import new_user
from replica.store.access import Role
from tests.crdt.samples import content
from tests.server.raw import RawDevice
from tests.server.test_chunks import few_events_are_many, synced, write
from tests.server.world import PASSWORD, Company, World

__all__ = ["few_events_are_many"]


def test_documents_come_in_the_order_of_their_use(
    world: World, company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first sync really brings what the user's other devices sold, then what was deleted, stock
    and products with prices, customers and the rest, and others' sales last; its counts per section
    only grow and end full; a colleague gets the same chunks in another order (SYN-01, SYN-14)."""
    monkeypatch.setattr(replica.sync.chunks, "CHUNK_BYTES_TARGET", 1)  # a document each
    ana, bob = (user(world, company, name) for name in ("ana", "bob"))
    old = [enrolled(world, company, who) for who in (ana, ana, bob)]
    for number, one in enumerate(old):
        one.meet()
        made = [OrderCommitted(f"o-{number}-{n}", content(customer="c-1")) for n in range(3)]
        assert one.write(*made, paid(f"pay-{number}")).verdicts
        one.close()
    world.on_loop(lambda: world.runtime.devices.revoke(company.account, old[1].device.hex()))
    write(world, company, 0, 5)
    world.write(company, CustomerDeleted("c-2"), StockMoved("p-1", 5_000))
    world.write(company, *(ProductCreated(f"p-{n}", ProductFields(name="Tea")) for n in range(3)))
    world.write(company, OrderCommitted("office", content(customer="c-1")))
    came: list[list[DocKey]] = []
    seen: list[tuple[Progress, ...]] = []
    for who in (ana, bob):
        with (
            monkeypatch.context() as patch,
            Device.open(tmp_path / f"{who.hex()}.db") as device,
        ):
            device.enrol(world.url, code_for(world, company, who), "New")
            came.append(watched(device, patch, seen))
            device.start()
            synced(device)
    first, second = came
    own = {f"o-{n}-{m}" for n in (0, 1) for m in range(3)} | {"pay-0", "pay-1"}
    ranks = [
        priority(key.type, own=key.id in own, gone=key == DocKey("customer", "c-2"))
        for key in first
    ]
    assert ranks == sorted(ranks)
    assert set(ranks) == set(Priority)
    assert [key.id for key in second[:4]] == ["o-2-0", "o-2-1", "o-2-2", "pay-2"]
    assert sorted(first) == sorted(second)
    assert seen[-1]
    for before, after in pairwise(seen[: len(first)]):
        done = {one.section: one.done for one in after}
        assert all(done[one.section] >= one.done for one in before)
        assert sum(done.values()) == sum(one.done for one in before) + 1
    assert sum(one.total - one.done for one in seen[len(first) - 1]) == 1


def watched(
    device: Device, monkeypatch: pytest.MonkeyPatch, seen: list[tuple[Progress, ...]]
) -> list[DocKey]:
    """What comes to ``device`` in bulk, in order; ``seen`` gets the progress that it shows."""
    came: list[DocKey] = []
    real = Base.adopt

    def adopt(
        base: Base, documents: Mapping[DocKey, bytes], own: Mapping[DocKey, Sequence[Record]]
    ) -> Change:
        came.extend(documents)
        seen.append(device.status().fetching)
        return real(base, documents, own)

    monkeypatch.setattr(Base, "adopt", adopt)
    return came


def paid(payment: str) -> PaymentRecorded:
    return PaymentRecorded(payment, "", "c-1", "cash", 500, "EUR")


def code_for(world: World, company: Company, who: bytes) -> str:
    """A code for a device that somebody will use."""
    devices = world.runtime.devices
    return world.on_loop(lambda: devices.open_code(company.account, "Phone", who))


def enrolled(world: World, company: Company, who: bytes) -> RawDevice:
    """A device that somebody uses."""
    body = {"code": code_for(world, company, who), "software": "raw"}
    said = httpx2.post(f"{world.url}/api/v1/enrol", json=body).json()
    device = bytes.fromhex(said["device"])
    return RawDevice(world, company.account, device, said["token"])


def user(world: World, company: Company, name: str) -> bytes:
    """Somebody who sells."""
    made = new_user(f"{name}-{company.login}", PASSWORD, Role.REP)
    return world.stores.control.add_user(company.account, made, now_ms=1).id
