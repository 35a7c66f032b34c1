"""The order in which the documents of a scope come to a device that has none, and its progress."""

from __future__ import annotations

import contextlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import replica.server.first_pages
from replica.crdt.documents import DocKey
from replica.crdt.priority import Priority, priority
from replica.crdt.scope import Facet
from replica.device import (
    CustomerChanged,
    CustomerDeleted,
    CustomerFields,
    Device,
    OrderCommitted,
    ProductCreated,
    ProductFields,
    StockMoved,
)
from replica.device.asking import Answer, Server
from replica.device.status import Progress
from replica.errors import Malformed, PeerGone
from replica.projections.scoping import Row
from replica.server.first_pages import choose, line_up
from replica.sync.scope import Ahead, read_ahead
from tests.crdt.samples import content
from tests.server.test_chunk_order import code_for, enrolled, paid, user, watched
from tests.server.test_chunks import synced, write
from tests.server.world import Company, World

KINDS = ("order", "payment", "stock", "product", "customer", "class")
NODES = (b"", bytes(8), b"\1" * 8)
rows = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(NODES), st.integers(1, 400), st.booleans()),
    max_size=30,
)


@given(rows, st.lists(st.integers(0, 29), max_size=10), st.booleans())
def test_pages_ahead_bring_everything_once_by_priority(
    given_rows: list[tuple[str, bytes, int, bool]], changing: list[int], forgetful: bool
) -> None:
    """However documents are spread over pages, and whichever change between two of them, each that
    did not change comes exactly once, in the order of priority, and none that changed is passed
    over: it has a position behind the one that the pages lead to; also when the server remembers
    nothing between two pages (SYN-01)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replica.server.first_pages, "SCOPE_PAGE_BYTES_TARGET", 500)
        now = {
            DocKey(kind, str(n)): Row(DocKey(kind, str(n)), b"", n // 2 + 1, Facet("", node), size)
            for n, (kind, node, size, _) in enumerate(given_rows)
        }
        gone = {
            DocKey(kind, str(n)) for n, (kind, _, _, is_gone) in enumerate(given_rows) if is_gone
        }
        first = dict(now)
        changed = position = len(given_rows)
        queue = line_up(now.values(), position, {NODES[2]}, gone)
        ahead: Ahead | None = Ahead(position)
        came: list[Row] = []
        while ahead is not None:
            if forgetful:
                queue = line_up(now.values(), position, {NODES[2]}, gone)
            page, ahead = choose(queue, now, ahead)
            came += (now[key] for key in page)
            ahead = ahead and read_ahead(str(ahead))
            if changing and (key := list(now)[changing[0] % len(now)] if now else None):
                changing, changed = changing[1:], changed + 1
                now[key] = now[key]._replace(position=changed)
    ranks = [
        priority(one.key.type, own=one.facet.authors == NODES[2], gone=one.key in gone)
        for one in came
    ]
    assert ranks == sorted(ranks)
    assert all(one.position <= position for one in came), "what changed comes with its change"
    keys = [one.key for one in came]
    assert len(keys) == len(set(keys))
    unchanged = {key for key, row in now.items() if row == first[key]}
    assert unchanged <= set(keys)


@pytest.mark.parametrize("text", ["", "1", "1.2", "1.2.x", "-1.0.0", "1.2.3.4", f"{9**20}.0.0"])
def test_nonsense_is_no_place_to_go_on(text: str) -> None:
    """What no page said is refused (I-20)."""
    with pytest.raises(Malformed):
        read_ahead(text)


EVEN = [f"c-{n}" for n in range(0, 40, 2)]
POLICY: dict[str, Any] = {"policy": "selected", "wish": {"customers": EVEN, "products": "all"}}


def test_a_first_sync_of_a_scope_comes_in_the_order_of_use(
    world: World, company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device with a scope gets its user's sales first, then what was deleted, stock and prices,
    the records, and others' sales last; its counts per section only grow, over two connections that
    break off too, no document comes twice, and what changed meanwhile is there in the end (SYN-01,
    SYN-14, SYN-28)."""
    monkeypatch.setattr(replica.server.first_pages, "SCOPE_PAGE_BYTES_TARGET", 1)
    ana, bob = (user(world, company, name) for name in ("ana", "bob"))
    write(world, company, 0, 40)
    world.write(company, *(ProductCreated(f"p-{n}", ProductFields(name="Tea")) for n in range(3)))
    for number, who in enumerate((bob, ana)):
        one = enrolled(world, company, who)
        one.meet()
        made = [OrderCommitted(f"o-{number}-{n}", content(customer=f"c-{n}")) for n in range(4)]
        assert one.write(*made, paid(f"pay-{number}")).verdicts
        one.close()
    world.write(company, CustomerDeleted("c-4"), StockMoved("p-1", 5_000))
    with world.operator(company) as office:
        assert office.put("/devices/policy", json=POLICY).status_code == 200
    real, allowed = Server.ask, [99]

    def fragile(server: Server, path: str, most: int, body: bytes | None = None) -> Answer:
        allowed[0] -= path.startswith("scope/changes")
        if allowed[0] < 0:
            raise ConnectionResetError("cut")
        return real(server, path, most, body)

    seen: list[tuple[Progress, ...]] = []
    came: list[DocKey] = []
    monkeypatch.setattr(Server, "ask", fragile)
    for allowed[0] in (3, 7, 999):
        with (
            monkeypatch.context() as patch,
            Device.open(tmp_path / "new.db") as device,
            contextlib.suppress(PeerGone),
        ):
            if device.identity is None:
                device.enrol(world.url, code_for(world, company, ana), "New")
            found = watched(device, patch, seen)
            try:
                if allowed[0] == 999:
                    synced(device)
                else:
                    device.sync(1)
            finally:
                came += found
            if allowed[0] == 999:
                assert (device.get("customer", "c-0") or {})["fields"]["phone"] == "1"
                assert device.status().fetching == ()
        world.write(company, CustomerChanged("c-0", CustomerFields(phone="1")))
    last = came.pop()
    assert last == DocKey("customer", "c-0")
    own = {f"o-1-{n}" for n in range(4)} | {"pay-1"}
    ranks = [
        priority(key.type, own=key.id in own, gone=key == DocKey("customer", "c-4")) for key in came
    ]
    assert ranks == sorted(ranks)
    assert set(ranks) == set(Priority)
    assert len(came) == len(set(came)) > 25
    shown = [one for one in seen if one]
    assert len(shown) > 20
    for before, after in pairwise(shown):
        done = {one.section: one.done for one in after}
        assert all(done[one.section] >= one.done for one in before)
    totals = {one.section: one.total for one in shown[-1]}
    assert totals["customer"] == 20
