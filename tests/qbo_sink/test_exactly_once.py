"""Exactly once: a crash, a drop or a fault between any two steps never makes two documents.

Every write of the ledger, every call and every submission is a boundary, before it and after it.
The process dies there; the next ones find the ledger as it was and go on (reliability I-24).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from qbo_sink.conversion import CONVERT, DELIVER
from qbo_sink.ledger import Ledger
from qbo_sink.look import Looker
from qbo_sink.model import Entity, Key, Sale, content_hash, decode_wanted, encode_wanted
from qbo_sink.requestid import requestid
from qbo_sink.rows import Item
from qbo_sink.sandbox import Switches
from qbo_sink.sandbox.injection import FaultRule
from tests.qbo_sink import exactly_once
from tests.qbo_sink.dying import check_once, live_and_die, open_world, put_work
from tests.qbo_sink.world import ACCOUNT, customer, order, product

FORGETFUL = Switches(throttle=False, requestid_ttl_s=0)
"""A company that forgets every request id at once."""
MEMORIES = [
    pytest.param(Switches(throttle=False), id="requestid-kept"),
    pytest.param(FORGETFUL, id="requestid-forgotten"),
]


def test_a_crash_while_connecting_costs_nothing(tmp_path: Path) -> None:
    """Dying at each boundary before the first write leaves a connection and one document each."""
    die_at, visited = 1, set()
    while "before begin" not in visited:
        world = open_world(tmp_path / str(die_at), Switches(throttle=False))
        try:
            put_work(world, "1")
            visited.add(live_and_die(world, die_at).died_at)
            check_once(world)
        finally:
            world.close()
        die_at += 1
    assert {"before connect", "after connect", "after save_preferences", "after take"} <= visited


@pytest.mark.parametrize("switches", MEMORIES)
def test_a_crash_at_any_boundary_makes_no_second_document(
    switches: Switches, tmp_path: Path
) -> None:
    """Dying at each boundary in turn leaves exactly one estimate, equal to the penny (I-24)."""
    world = open_world(tmp_path, switches)
    asyncio.run(world.run())
    visited: set[str] = set()
    try:
        for die_at in range(1, 500):
            put_work(world, str(die_at))
            boundaries = live_and_die(world, die_at)
            if not boundaries.died_at:
                break
            visited.add(boundaries.died_at)
            asyncio.run(world.run())
        check_once(world)
    finally:
        world.close()
    assert die_at > 45
    assert {"after begin", "before acknowledge", "after acknowledge"} <= visited
    assert {"before submit", "after submit", "before answered", "after answered"} <= visited
    assert any(name.startswith("after POST") and "estimate" in name for name in visited)


def test_a_crash_at_any_boundary_makes_no_second_invoice_or_mail(tmp_path: Path) -> None:
    """Dying at each boundary of a conversion and of a delivery leaves one invoice of each order,
    tied to its closed estimate, mailed once (I-24, QB-05)."""
    world = open_world(tmp_path, FORGETFUL)
    visited: set[str] = set()
    with exactly_once.counting_mail() as mailed:
        try:
            world.put(customer("c-1"), product("p-1"))
            world.put(*(order(f"o-{number}") for number in range(1, 60)))
            asyncio.run(world.run())
            for die_at in range(1, 60):
                exactly_once.command(world, f"o-{die_at}", CONVERT, "")
                exactly_once.command(world, f"o-{die_at - 1}", DELIVER, "a@side.example")
                boundaries = live_and_die(world, die_at)
                if not boundaries.died_at:
                    break
                visited.add(boundaries.died_at)
                asyncio.run(world.run())
            history = exactly_once.History(0)
            exactly_once.check(world, history, mailed)
        finally:
            world.close()
    assert history.problems == []
    assert len(mailed) == die_at - 1 < 58
    assert any(name.startswith("after POST") and name.endswith("/invoice") for name in visited)
    assert any(name.startswith("after POST") and name.endswith("/send") for name in visited)


# What can happen to one call, or to the process, in one life of the sink.
drops = st.builds(
    FaultRule,
    kind=st.sampled_from(["drop_before", "drop_after", "reset_mid_body"]),
    match=st.sampled_from(["/estimate", "/customer", "/item", "/query", "/bearer", ""]),
    skip=st.integers(0, 4),
    count=st.integers(1, 3),
)
answers = st.builds(
    FaultRule,
    kind=st.just("status"),
    match=st.sampled_from(["/estimate", "/customer", "/item", "/query", ""]),
    skip=st.integers(0, 4),
    count=st.integers(1, 2),
    status=st.sampled_from([500, 502, 503, 504]),
    format=st.sampled_from(["html", "xml", "json", "text", "empty"]),
    after=st.booleans(),
)
lives = st.lists(
    st.tuples(st.lists(drops | answers, max_size=3), st.none() | st.integers(1, 90)),
    min_size=1,
    max_size=4,
)
companies = st.builds(
    Switches,
    throttle=st.just(value=False),
    requestid_ttl_s=st.sampled_from([0, 86_400]),
    requestid_conflict=st.sampled_from(["replay", "600"]),
    requestid_replays_faults=st.booleans(),
    estimate_dup_docnumber=st.sampled_from(["allow", "6140"]),
    docnumber_when_auto=st.sampled_from(["ignore", "keep"]),
    amount_rounding=st.sampled_from(["half_up", "tolerance"]),
    refresh_rotation=st.sampled_from(["every", "24h"]),
    short_pages=st.sampled_from([0.0, 0.5]),
)


@given(lives=lives, switches=companies)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_script_of_faults_makes_a_second_document(
    lives: list[tuple[list[FaultRule], int | None]],
    switches: Switches,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Drops, resets, server errors and crashes in any order end in one estimate each (I-24)."""
    world = open_world(tmp_path_factory.mktemp("world"), switches)
    try:
        for at, (rules, die_at) in enumerate(lives):
            put_work(world, str(at))
            for rule in rules:
                world.sandbox.plan.add(rule)
            live_and_die(world, die_at or 10**9)
        world.sandbox.plan.rules.clear()
        world.clock.ms += 3_600_000  # the outage is over, whatever waited is due
        asyncio.run(world.run())
        check_once(world)
    finally:
        world.close()


def test_a_content_that_comes_back_is_sent_under_an_id_of_its_own(tmp_path: Path) -> None:
    """An order is amended back and forth, the last time while an amendment still waits to be sent:
    no request id is used twice, or QuickBooks would answer with what it did the first time (QB-21,
    I-24; first seen in the simulator's books)."""
    world = open_world(tmp_path, Switches(throttle=False))
    try:
        put_work(world, "one")
        asyncio.run(world.run())
        ledger = Ledger(world.ledger.write)
        order_key = Key(Entity.ESTIMATE, "order", "o-one")
        (first,) = ledger.wanted(ACCOUNT, [order_key]).values()
        sale = decode_wanted(Entity.ESTIMATE, first)
        assert isinstance(sale, Sale)
        contents = {
            note: encode_wanted(replaced(sale, content=replaced(sale.content, note=note)))
            for note in "abc"
        }
        used: list[str] = []
        for note, sent in (("b", True), ("a", True), ("c", False), ("b", True)):
            ledger.want(ACCOUNT, "", [Item(order_key, 9, contents[note], needed=True)])
            (intent,) = [one for one in ledger.open_intents(ACCOUNT) if one.key == order_key]
            assert intent.hash == content_hash(contents[note])
            if sent:
                used.append(requestid("r", order_key, intent.op, intent.hash, intent.generation))
                (mapping,) = ledger.mappings(ACCOUNT, [order_key]).values()
                there = replace(mapping, hash=intent.hash)
                ledger.acknowledge(ACCOUNT, intent, there, answer=None, attempt=None)
        assert len(set(used)) == len(used)
    finally:
        world.close()


def test_the_long_proof_finds_what_it_looks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The short form of ``make faults``: a history with faults of every family ends in one document
    each, and a sink that forgets its request ids and never looks is caught (I-24)."""
    monkeypatch.setattr(exactly_once, "LIVES", 9)
    sound = exactly_once.run_seed(6)
    assert sound.problems == []
    assert sound.faults["crash"] > 0
    assert sound.faults.total() > 8

    async def blind(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(Looker, "find", blind)
    monkeypatch.setattr(exactly_once, "draw_switches", lambda _: FORGETFUL)
    broken = [exactly_once.run_seed(seed) for seed in range(1, 4)]
    assert any("2 documents" in problem for one in broken for problem in one.problems)
