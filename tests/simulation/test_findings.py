"""What the simulator has found in the product, as histories that are told step by step."""

from __future__ import annotations

from replica.events.kinds import encode_payload
from replica.events.payloads import DeviceRevoked, StockMoved
from replica.events.record import Origin
from replica.sync.table import State
from tests.simulation.dice import Dice
from tests.simulation.errands import Errands
from tests.simulation.options import Options, Plan, plan
from tests.simulation.phone import Phone
from tests.simulation.run import audit, run, settle


def world_of(phones: int, servers: int = 1) -> Errands:
    options = Options(
        phones, servers, (0, 0, 0, 0), small_pages=False, one_probe=False, real=True, faults=()
    )
    return Errands(Plan(0, options, ()))


def connect(world: Errands, phone: Phone, server: int = 0) -> None:
    others = [one for at, one in enumerate(world.servers) if at != server]
    for one in others:
        one.up = False
    world.connect(phone, Dice(1))
    for one in others:
        one.up = True
    rest(world)


def rest(world: Errands) -> None:
    while world.move(Dice(world.now_ms)):
        pass


def world_body(word: str) -> bytes:
    return encode_payload(StockMoved("p-1", 1_000, word))[2]


def save(world: Errands, phone: Phone, word: str) -> None:
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


def test_what_was_said_before_a_fork_survives_a_restored_server() -> None:
    """A phone put back from its backup goes on in a new epoch. When the server then loses what the
    old epoch had said, the phone says it again, though its answers were final (I-1; first seen in
    seed 28)."""
    world = world_of(phones=2)
    phone, other = world.phones
    connect(world, phone)
    connect(world, other)
    world.do_backup_server(Dice(0))
    save(world, phone, "w1")
    save(world, phone, "w2")
    image = phone.image()
    save(world, phone, "w3")
    phone.start_from(image)
    connect(world, phone)
    settle(world)
    assert phone.journal.head.epoch == 2
    world.notebook.acked.clear()  # by id; what they said is demanded below
    for raised in (True, False):
        world._restore_server(Dice(0), raised=raised)
        world.backup = world.log.backup()
    world.notebook.excuse("stock.moved", world_body("w3"))  # only the log had it
    settle(world)
    audit(world)


def test_a_server_that_forgot_silently_decides_anew() -> None:
    """The log went back below an answered event without saying so, and the device's cursor lies in
    what is left: it lets go of the first answer before it offers the event again, so that the time
    decided first does not stay beside the second (I-10, pitfalls P18, P35)."""
    world = world_of(phones=2)
    phone, other = world.phones
    phone.skew_ms = -90_000
    connect(world, other)
    save(world, other, "w1")
    world.do_backup_server(Dice(0))
    connect(world, phone)
    payload_of = StockMoved("p-1", 2_000, "w2")
    phone.save(payload_of)
    kind, _, body = encode_payload(payload_of)
    world.notebook.note(kind, body, sure=True)
    world._ring(phone)
    while phone.journal.pending_count:
        assert world.move(Dice(world.now_ms))
    phone.hang_up()
    assert phone.journal.place.cursor == 1
    world.do_restore_silent(Dice(0))
    phone.skew_ms += 5_000
    settle(world)
    audit(world)


def test_a_copy_and_a_restored_server_end_equal() -> None:
    """The log goes back, and a living copy tells it again what both had said, so that another time
    is decided. The original keeps the first decision, and nothing but its digests shows it: after
    a failed proof its document is mended, and it is equal (I-10; first seen in seed 57)."""
    world = world_of(phones=1)
    (phone,) = world.phones
    phone.skew_ms = -90_000
    world.do_backup_server(Dice(0))
    connect(world, phone)
    save(world, phone, "w1")
    world.do_clone(Dice(0))
    copy = world.phones[1]
    world.do_restore_silent(Dice(0))
    copy.skew_ms += 5_000
    connect(world, copy)
    assert copy.journal.pending_count == 0
    copy.hang_up()
    settle(world)
    audit(world)
    assert world.struck["mend_documents"]


def test_a_log_that_went_back_ends_before_what_was_answered() -> None:
    """A copy says one of two events again to a log that went back to its beginning. What the
    original was told of its own lies behind the end of that log, and it does not wait for it
    (I-15; first seen when copies and restored logs were first put together)."""
    world = world_of(phones=1)
    (phone,) = world.phones
    world.do_backup_server(Dice(0))
    connect(world, phone)
    for at in range(6):
        world.servers[0].write("web", Origin.WEB, [DeviceRevoked(f"{at:032x}")], world.now_ms)
    save(world, phone, "w1")
    world.do_clone(Dice(0))
    world.do_restore_silent(Dice(0))
    copy = world.phones[1]
    connect(world, copy)
    settle(world)
    audit(world)


def test_a_log_that_was_told_the_same_again_leaves_nobody_behind() -> None:
    """The log goes back without saying so and is told the same event again, which another time is
    decided for. The chain names events, not decisions, so nothing shows another device that what
    it holds is the first decision, but its digests (I-10; first seen in seed 5418)."""
    world = world_of(phones=2)
    phone, other = world.phones
    phone.skew_ms = -90_000
    world.do_backup_server(Dice(0))
    connect(world, phone)
    connect(world, other)
    save(world, phone, "w1")
    other.hang_up()
    world.do_restore_silent(Dice(0))
    phone.skew_ms += 5_000
    connect(world, phone)
    settle(world)
    audit(world)
    assert world.struck["mend_documents"]


def test_rows_of_a_log_put_back_are_made_again_before_it_grows() -> None:
    """Read models that stood further than a silently restored log are built anew at the start, not
    kept because devices told the log the same again (I-11; first seen in seed 311816)."""
    assert run(plan(311_816, errands=False)).failure == ""
