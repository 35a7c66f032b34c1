"""Devices with a scope in the simulator: what it has found, told step by step, and its planted
bugs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from replica.events.kinds import encode_payload
from replica.events.payloads import CustomerCreated, CustomerFields, Payload, StockMoved
from tests.simulation.dice import Dice
from tests.simulation.fuse import PowerCut
from tests.simulation.membership import Membership
from tests.simulation.mutants import MUTANTS
from tests.simulation.options import Options, Plan, bounds
from tests.simulation.parts import Parts
from tests.simulation.phone import Phone
from tests.simulation.report import hunt
from tests.simulation.run import audit, settle

OPTIONS = Options(
    phones=2,
    servers=1,
    skews_ms=(0, 0, 0, 0),
    small_pages=False,
    one_probe=False,
    real=True,
    faults=(),
    parts=True,
)
QUICK = (
    "customers leave before the work about them",
    "a document outside the scope is sent",
    "a widened scope brings only what is new",
)


def world_of() -> Parts:
    """A world in which nothing goes wrong but what is told."""
    world = Parts(Plan(0, OPTIONS, ()))
    world.peace = True
    return world


def connect(world: Parts, phone: Phone) -> None:
    world.connect(phone, Dice(1))
    rest(world)


def rest(world: Parts) -> None:
    """Everything arrives, and what was begun is done."""
    while world.move(Dice(world.now_ms)):
        pass


def put_off(world: Parts) -> None:
    """Everything arrives, but what phones have begun beside that is left."""
    world._pulling = True
    rest(world)
    world._pulling = False


@contextmanager
def alone(world: Parts, phone: Phone) -> Iterator[None]:
    """What happens to some phone happens to this one."""
    others = [one for one in world.phones if one is not phone]
    world.phones[:] = [phone]
    yield
    world.phones += others


def grant(world: Parts, phone: Phone, **wish: Any) -> None:
    assert world._office(Dice(1), "PUT", f"scope?device={phone.device.hex()}", wish)


def save(world: Parts, phone: Phone, payload: Payload) -> None:
    phone.save(payload)
    kind, _, body = encode_payload(payload)
    world.notebook.note(kind, body, sure=True)
    world._ring(phone)


def moved(word: str, product: str = "p-1") -> Payload:
    return StockMoved(product, 1_000, word)


def test_a_handover_waits_for_nothing_but_the_work_of_the_giver() -> None:
    """A customer whose old device has nothing to send leaves it as soon as it has heard that he is
    to, with nothing else happening in the account (B10; first seen in seed 207)."""
    with bounds(OPTIONS):
        world = world_of()
        giver, taker = world.phones
        for phone in world.phones:
            connect(world, phone)
        grant(world, giver, products=["p-1"])
        rest(world)
        connect(world, giver)
        names = {"giver": giver.device.hex(), "taker": taker.device.hex()}
        assert world._office(Dice(1), "POST", "scope/handover", {"customers": ["c-1"], **names})
        rest(world)
        assert world.unfinished() == ""
        assert world.scope_of(giver.device)["without"] == ["c-1"]
        settle(world)
        audit(world)


def test_work_that_is_answered_again_is_looked_at_before_the_proof() -> None:
    """An answer that was lost comes again once the documents are newer than what it is about. What
    its author wrote outside his scope leaves, and only then digests are compared (I-10; first seen
    in seed 239)."""
    with bounds(OPTIONS):
        world = world_of()
        phone, _ = world.phones
        grant(world, phone, products=["p-1"])
        connect(world, phone)
        phone.hang_up()
        save(world, phone, moved("w1", "p-2"))
        with alone(world, phone):
            world.do_export(Dice(0))
        world.take_in(world.files.pop(), world.servers[0])
        connect(world, phone)
        settle(world)
        audit(world)
        assert world.unequal[phone.name] == 0


def test_what_waited_for_an_answer_leaves_after_a_refusal() -> None:
    """Documents that leave stay while work waits; when its answer moves nothing, they leave all the
    same, before the proof (I-10; first seen in seed 4788)."""
    with bounds(OPTIONS):
        world = world_of()
        phone, _ = world.phones
        world.say(world.phones[1], CustomerCreated("c-1", CustomerFields(name="Ana")))
        for one in world.phones:
            connect(world, one)
        phone.hang_up()
        grant(world, phone, customers=[], prospects=[])
        with alone(world, phone):
            world.do_forbidden(Dice(0))
        world.connect(phone, Dice(1))
        while not phone.begun:
            assert world.move(Dice(world.now_ms))
        world.go_on(phone, phone.begun.pop(0), Dice(1))
        assert phone.journal.pending_count
        settle(world)
        audit(world)
        assert world.unequal[phone.name] == 0


def test_a_page_for_a_life_that_ended_moves_no_cursor() -> None:
    """A copy that finds itself a copy while it asks for documents hears the log from its beginning
    in its new life, and does not say again what is in there (I-3; first seen in seed 455)."""
    with bounds(OPTIONS):
        world = world_of()
        phone, other = world.phones
        grant(world, phone, products=["p-1"])
        save(world, phone, moved("w1"))
        with alone(world, phone):
            world.do_clone(Dice(0))
            copy = world.phones[1]
        connect(world, phone)
        save(world, phone, moved("w2"))
        rest(world)
        phone.hang_up()
        world.connect(copy, Dice(1))
        put_off(world)
        save(world, copy, moved("w3"))
        put_off(world)
        assert copy.journal.head.epoch == 2
        rest(world)
        settle(world)
        audit(world)
        assert not other.journal.pending_count


def test_documents_newer_than_the_log_are_asked_for_again() -> None:
    """The log went back behind the documents of a device, but not behind its cursor: it goes on
    from where the log ends (I-15; first seen in seed 2505)."""
    with bounds(OPTIONS):
        world = world_of()
        phone, other = world.phones
        grant(world, phone, products=["p-1"])
        connect(world, phone)
        connect(world, other)
        save(world, other, moved("w1"))
        put_off(world)
        world.do_backup_server(Dice(0))
        grant(world, other, products=["p-1"])
        put_off(world)
        world.go_on(phone, phone.begun.pop(0), Dice(1))
        phone.hang_up()
        phone.drop_begun()
        assert world.backup is not None
        assert phone.journal.place.cursor <= world.backup.position < phone.journal.place.scope_at
        world.do_restore_silent(Dice(0))
        settle(world)
        audit(world)


def test_a_part_of_nothing_is_nothing() -> None:
    """A device whose scope is granted before anything has happened in the account waits for what
    will, and does not take the server for one of other rules (CFG-05; first seen in seed 5568)."""
    with bounds(OPTIONS):
        world = world_of()
        phone, _ = world.phones
        world._dies_after = 1
        with pytest.raises(PowerCut):
            world._enrol(phone, Dice(4))
        world._dies_after = None
        settle(world)
        audit(world)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_about_scopes_is_found(name: str) -> None:
    """The simulator can fail where devices hold a part of the account (CFG-01, B10)."""
    found = hunt(MUTANTS[name], limit=400)
    assert found is not None, f"{name} was not found"


def test_the_auditor_knows_what_a_scope_lets_see() -> None:
    """Without a scope everything is seen but the sums of sales; with one a customer brings what is
    about him, and given away he takes it along (CFG-01, B10)."""
    scope: dict[str, Any] = {
        "device": bytes(16).hex(),
        "customers": ["c-1"],
        "prospects": [],
        "products": None,
        "orders": "team",
        "without": [],
        "leaving": {},
    }
    everything = scope | {"customers": None, "prospects": None}
    assert Membership(everything, {}).sees("order", "o-1")
    assert not Membership(everything, {}).sees("sold", "p-1")
    found = Membership(scope, {})
    assert [found.sees("customer", name) for name in ("c-1", "c-2")] == [True, False]
    assert found.sees("note", "customer:c-1")
    assert found.sees("sold", "p-1")
    assert not Membership(scope | {"without": ["c-1"]}, {}).sees("note", "customer:c-1")
