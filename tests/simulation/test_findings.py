"""What the simulator has found in the product, as histories that are told step by step."""

from __future__ import annotations

from replica.events.kinds import encode_payload
from replica.events.payloads import StockMoved
from replica.sync.table import State
from tests.simulation.dice import Dice
from tests.simulation.nemesis import Nemesis
from tests.simulation.options import Options, Plan
from tests.simulation.phone import Phone
from tests.simulation.run import audit, settle


def world_of(phones: int, servers: int = 1) -> Nemesis:
    options = Options(phones, servers, (0, 0, 0, 0), small_pages=False, faults=())
    return Nemesis(Plan(0, options, ()))


def connect(world: Nemesis, phone: Phone, server: int = 0) -> None:
    others = [one for at, one in enumerate(world.servers) if at != server]
    for one in others:
        one.up = False
    world.connect(phone, Dice(1))
    for one in others:
        one.up = True
    rest(world)


def rest(world: Nemesis) -> None:
    while world.move(Dice(world.now_ms)):
        pass


def save(world: Nemesis, phone: Phone, word: str) -> None:
    payload = StockMoved("p-1", 1_000, word)
    phone.save(payload)
    kind, _, body = encode_payload(payload)
    world.notebook.note(kind, body, sure=True)
    world._ring(phone)
    rest(world)


def test_a_copy_at_another_server_is_found_by_its_proof() -> None:
    """A copy that holds still at one server misses what the original writes at the other, whose
    events count as its own. Its proof fails, it meets the server anew and goes on under a life of
    its own (I-10; first seen in seed 275)."""
    world = world_of(phones=1, servers=2)
    (phone,) = world.phones
    world.do_clone(Dice(0))
    copy = world.phones[1]
    connect(world, phone, 0)
    connect(world, copy, 1)
    assert copy.session is not None
    assert copy.session._peer.state is State.LIVE
    save(world, phone, "w1")
    settle(world)
    audit(world)
    assert copy.journal.head.epoch == 2
