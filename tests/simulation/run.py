"""One seed from beginning to end: faults, then peace, then the audit; and making failures small."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from hashlib import sha256
from typing import NamedTuple

import msgpack

from replica.crdt.documents import DOCUMENT_TYPES, DocKey
from replica.crdt.stock import SOLD
from replica.device.status import Mode
from replica.sync.table import State as PeerState
from tests.simulation import auditor
from tests.simulation.auditor import demand
from tests.simulation.books import Sink, estimate_total
from tests.simulation.dice import Dice
from tests.simulation.errands import Errands
from tests.simulation.membership import Membership
from tests.simulation.memory import remembering
from tests.simulation.model import Model, check_documents, check_twins
from tests.simulation.nemesis import outbox
from tests.simulation.options import Plan, bounds, plan
from tests.simulation.parts import Parts
from tests.simulation.phone import Phone
from tests.simulation.readmodels import SqlViews
from tests.simulation.server import ID, Views, rows_at, shuffled

ROUNDS = 125  # of five seconds each: ten simulated minutes (I-15)
MOVES = 6_000


class Result(NamedTuple):
    """What came of a plan. ``failure`` is empty when everything held."""

    plan: Plan
    trace: str
    struck: Counter[str]
    failure: str
    story: tuple[str, ...] = ()


def run(one: Plan, *, tell: bool = False) -> Result:
    """Run a plan. Whatever the product raises, and every broken invariant, is a failure."""
    with bounds(one.options), nullcontext() if one.options.real else remembering():
        world = (Parts if one.options.parts else Errands)(one, tell=tell)
        failure = ""
        try:
            for step in one.steps:
                world.step(step)
            settle(world)
            audit(world)
        except Exception as error:  # noqa: BLE001 - anything that escapes is a finding
            failure = f"{type(error).__name__}: {error}" if str(error) else _where(error)
        finally:
            for phone in world.phones:
                phone.drop_begun()
                phone.journal.close()
    return Result(one, world.trace, world.struck, failure, tuple(world.story or ()))


def _where(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__} in {at}"


# Peace ------------------------------------------------------------------------------------------


def settle(world: Errands) -> None:
    """Faults stop. Within ten minutes everything is exchanged and proved (I-15)."""
    dice = Dice(world.plan.seed ^ 0x5E771E)
    world.tell("from here on nothing goes wrong")
    world.peace = True
    world.do_mend(dice)
    world.sink.crash_in, world.sink.books.weather = 0, "fair"
    for server in world.servers:
        if not server.up:
            server.start()
    for phone in world.phones:
        phone.fuse.left = 0
        phone.report.proof = phone.report.proved = None
    if isinstance(world.views, SqlViews):
        world.cut_views(world.views, 1 + Dice(world.plan.seed).below(6))
    busy = True
    for _ in range(ROUNDS):
        _meet(world, dice, prove=not busy)
        busy = world.decide(world.servers[0]) or world.run_sink(dice)
        if busy or world.unfinished():
            pass
        elif all(_at_rest(world, phone) for phone in world.phones):
            return
        world._pass_time(5_000)
    unequal = [
        one.name for one in world.phones if one.report.proved and not one.report.proved.equal
    ]
    demand(not unequal, f"I-10: the digests of {unequal} stay unequal")
    waiting = [phone.name for phone in world.phones if not _at_rest(world, phone)]
    states = [_standing(world, phone) for phone in world.phones]
    demand(not world.unfinished(), f"I-15: never handed over: {world.unfinished()}")
    demand(holds=False, text=f"I-15: {waiting or 'the sink'} did not come to rest: {states}")


def _meet(world: Errands, dice: Dice, *, prove: bool) -> None:
    """Everybody exchanges everything; once the sink has nothing to add, they ``prove`` it too."""
    for phone in world.phones:
        if prove and not _at_rest(world, phone) and phone.report.proof is None:
            phone.wish_for_proof()
        world.connect(phone, dice)
    for wire in world.wires:
        if wire.peer.state is PeerState.LIVE:
            hinted = wire.peer.hint(world.log.head(ID).position, world._server_ms(wire))
            world._server_says(wire, hinted)
    _ask(world)
    for _ in range(MOVES):
        if not world.move(dice):
            break
    else:
        demand(holds=False, text="I-15: the world does not come to rest")
    for phone in world.phones:
        world.unequal[phone.name] = max(world.unequal[phone.name], phone.report.unequal)
    world.wires = [wire for wire in world.wires if not wire.over]


def _ask(world: Errands) -> None:
    for phone in world.phones:
        wire = world.wire_of(phone)
        if wire is not None and phone.report.proof is not None:
            world._device_says(wire, phone.prove)


def _at_rest(world: Errands, phone: Phone) -> bool:
    if phone.revoked:
        return phone.report.mode is Mode.REVOKED
    level = phone.holding.level()
    proved = phone.report.proved
    return (
        level.pending == 0
        and level.cursor == phone.journal.place.cursor == world.log.head(ID).position
        and proved is not None
        and proved.equal
        and proved.position == level.cursor
    )


def _standing(world: Errands, phone: Phone) -> str:
    level, head = phone.holding.level(), world.log.head(ID).position
    return (
        f"{phone.name} {phone.report.mode} cursor {level.cursor} of {head}, pending"
        f" {level.pending}, reach {level.answered_through}, proved {phone.report.proved}"
    )


# The audit --------------------------------------------------------------------------------------


def audit(world: Errands) -> None:
    world.come_late()
    rows = auditor.read_log(world.log)
    auditor.check_log(rows, world.log)
    held: Counter[str] = Counter()
    for phone in world.phones:
        if phone.revoked:
            held.update(auditor.said_key(*said) for said in outbox(phone).values())
            if world.struck["restore_raised"] or world.struck["restore_silent"]:
                world.notebook.acked -= outbox(phone).keys()  # cannot be offered again
    # Two copies of a device that a restored server has forgotten may both say it again.
    once = not (world.copied and world.restored)
    if not once:
        held.update(_set_aside_here(world))
    auditor.check_saved(rows, world.log, world.notebook, held, once=once)
    if not (world.restored or world.copied):  # else what they wait for may be forgotten, or renamed
        auditor.check_dependants(rows, world.notebook)
    if (
        not world.struck["clock_forward"]
        + world.struck["clock_back"]
        + world.struck["clock_server"]
    ):
        auditor.check_moments(rows, world.notebook)
    model = Model(rows)
    world.views.catch_up()
    check_documents(model, world.views.documents)
    check_twins(model)
    _check_views(world)
    for phone in world.phones:
        if not phone.revoked:
            _check_phone(world, phone, model, rows)
    _check_sink(world, model, world.sink)


def _set_aside_here(world: Errands) -> Counter[str]:
    """What a copied device shows as set aside: once a restored log has forgotten of it and the
    device has gone on in a new epoch, it is there alone, for its user to say again."""
    return Counter(
        auditor.said_key(*auditor.kind_and_body(data))
        for phone in world.phones
        if phone.device in world.copied
        for data, state, *_ in phone.journal.rows()
        if state == 2
    )


def _check_views(world: Errands) -> None:
    """Incremental equals rebuilt, in any order and with repetitions (I-3, I-11)."""
    segments = [segment for _, _, segment in world.log.state.segments]
    again = shuffled(segments, Dice(world.plan.seed ^ 0xA6A1))
    for key, document in world.views.documents.items():
        demand(again[key].encode() == document.encode(), f"I-11: {key.type} {key.id} differs")
    if isinstance(world.views, SqlViews):
        demand(world.views.rebuilt_equal(), "I-11: tables differ from those made at once")
    elif isinstance(world.views, Views):
        rows = {key: rows_at(document) for key, document in again.items()}
        demand(rows == world.views.rows, "I-11: rows differ from those made at once")


def _check_phone(world: Errands, phone: Phone, model: Model, rows: Sequence[auditor.Row]) -> None:
    name = phone.name
    failed = world.unequal[name]
    # The product mends what it finds unequal. Only copies may give it anything to mend, and a log
    # that went back without saying so and was told the same again: its chain is the same.
    told_again = world.lost_chains & {one.chain for _, _, one in world.log.state.segments}
    # Nor is it seen where the log went back behind what did not come over the wire.
    beside = phone.device in world.carried or world.struck["bulk_broken"] + world.struck["bulk_cut"]
    silently = beside and world.struck["restore_silent"]
    odd = phone.device in world.copied | world.damaged
    may_fail = odd or told_again or silently
    demand(not failed or may_fail, f"I-10: {name} was unequal")
    demand(failed < 2 or world.restored, f"I-10: {name} was unequal twice")
    proved = phone.report.proved
    demand(proved is not None and proved.equal, f"I-10: the proof of {name} says unequal")
    products = sorted(model.ids("stock", "product"))
    if isinstance(world, Parts) and world.tokens.bounded(phone.device):
        sees = world.membership(phone.device)
        # What a lost sale took is not mended any more once it has left the part, too.
        whole = phone.device not in world.damaged
        products = [one for one in products if whole and sees.sees("product", one)]
        _check_part(world, phone, sees, model)
    else:
        for key, document in world.views.documents.items():
            shown = phone.journal.document(*key)
            demand(shown == document.encode(), f"I-10: {key.type} {key.id} differs on {name}")
        sections = list(world.views.sections())
        totals = list(phone.holding.base.sections())
        demand(totals == sections, f"I-10: the totals of {name} differ")
    placed = {row.id: row for row in rows}
    for data, state, position, stamp, code in phone.journal.rows():
        demand(state is not None, f"I-15: {name} holds an event without a verdict")
        if state == 1:
            row = placed.get(sha256(data).digest())
            demand(row is not None, f"I-1: {name} was told that an event is in the log")
            assert row is not None
            # Its copy, or a file of its, may have told a log that went back and did not say so, or
            # said so in a connection that broke: what stands in the outbox about it is of the old
            # log then, and no digest shows it.
            twofold = phone.device in world.copied | world.carried
            copy = twofold and world.restored
            demand(row.position == position or copy, f"I-3: {name} was told another position")
            demand(row.stamp == (stamp or row.raw) or copy, f"P18: {name} keeps another time")
        elif state in (2, 3):
            demand(code, f"I-19: {name} was not told why")
    for product in products:
        meant = model.on_hand_e3(product)
        if not phone.journal.aside():
            demand(phone.holding.on_hand_e3(product) == meant, f"CON-09: {product} on {name}")


def _check_part(world: Parts, phone: Phone, sees: Membership, model: Model) -> None:
    """A device with a scope holds its part, all of it and nothing else, as the server has it; and
    of each of its products what everybody sold (CFG-01, CON-09)."""
    held = {
        (kind, identity): state
        for kind in (*DOCUMENT_TYPES, SOLD)
        for identity, state in phone.journal.documents(kind, "")
    }
    for kind, product in [key for key in held if key[0] == SOLD]:
        since, qty_e3 = msgpack.unpackb(held.pop((kind, product)))
        demand(sees.sees(kind, product), f"CFG-01: {phone.name} holds what was sold of {product}")
        demand((since, qty_e3) == model.sold(product), f"CON-09: what was sold of {product}")
    meant = {key: world.views.documents[DocKey(*key)].encode() for key in sees.seen()}
    more, less = held.keys() - meant.keys(), meant.keys() - held.keys()
    demand(not more, f"CFG-01: {phone.name} holds {more}, which it may not see")
    demand(not less, f"CFG-03: {phone.name} lacks {less}")
    for key, state in meant.items():
        demand(held[key] == state, f"I-10: {key} differs on {phone.name}")


def _check_sink(world: Errands, model: Model, sink: Sink) -> None:
    """One document there for each sealed here, with its total; nothing else (I-24)."""
    marks = Counter(msgpack.packb(auditor.marked(row)) for row in sink.books.rows.values())
    demand(all(count == 1 for count in marks.values()), "I-24: two estimates for one document")
    for order in sorted(model.ids("order", "order")):
        content = model.content(order)
        rows = sink.books.find("order", order)
        if content is None or (model.state(order) == "cancelled" and not rows):
            continue
        if content["currency"] != "USD":
            continue
        demand(len(rows) == 1, f"I-24: {len(rows)} estimates for {order}")
        rejected = rows[0]["TxnStatus"] == "Rejected"
        demand(rejected == (model.state(order) == "cancelled"), f"I-24: the state of {order}")
        if not rejected:
            cents = estimate_total(rows[0]) * 100
            demand(cents == content["total_minor"], f"I-24: {order} is {cents} cents there")


# Small histories --------------------------------------------------------------------------------


def shrink(found: Result) -> Result:
    """The shortest plan near ``found`` that fails for the same reason: steps left out in halves,
    then quarters, then one by one."""
    best = found
    size = max(len(found.plan.steps) // 2, 1)
    while True:
        at, gained = 0, False
        while at < len(best.plan.steps):
            steps = best.plan.steps[:at] + best.plan.steps[at + size :]
            tried = run(best.plan._replace(steps=steps))
            if _same(tried.failure, found.failure):
                best, gained = tried, True
            else:
                at += size
        if size == 1 and not gained:
            return run(best.plan, tell=True)
        size = max(size // 2, 1)


def _same(one: str, other: str) -> bool:
    """Failures are told apart by their type and the invariant that they name."""
    return bool(one) and one.split(":")[:2] == other.split(":")[:2]


def run_seed(seed: int) -> Result:
    return run(plan(seed))
