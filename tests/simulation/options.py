"""The swarm: which faults a seed has, how often, and the plan of steps that follows from it.

A plan is data. Each step carries randomness of its own, so a shorter plan replays the rest as it
was; that is how a failing history is made small.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from replica.device import chunks as device_chunks
from replica.device import mend, session
from replica.server import first_pages, scoped
from replica.sync import chunks, device_peer, downstream, scope, server_peer
from tests.simulation.dice import Dice
from tests.simulation.rows import PLAIN_LAYERS, PLAIN_SCOPING, SQL_SCOPING

DAY_MS = 86_400_000
SKEWS_MS = (
    0,
    700,
    -1_500,
    5_000,
    -90_000,
    3_600_000,
    -DAY_MS,
    3 * 365 * DAY_MS,
    -40 * 365 * DAY_MS,
)

# What people and networks do all the time, with how often among a hundred steps or so.
ALWAYS = {"save": 30, "office": 8, "connect": 16, "move": 60, "wait": 6}
FAULTS = {
    "drop": 6,  # a socket breaks, frames on the way are lost
    "hang_up": 4,  # the device leaves; what it sent before may still arrive
    "stall": 5,  # one direction stops, or both
    "partition": 2,  # everything stalls, nobody can connect
    "mend": 5,
    "slow": 3,  # a device reads nothing for long
    "lose_hint": 6,
    "crash_phone": 5,  # between steps
    "cut_phone": 9,  # inside a commit: before or after it
    "crash_server": 4,
    "hand_over": 3,  # the other server takes the devices on
    "clock_phone": 4,
    "clock_server": 2,
    "clone": 2,
    "restore_phone": 4,
    "restore_raised": 4,
    "restore_silent": 4,
    "revoke": 1,
    "unknown": 4,
    "broken": 4,
    "forbidden": 2,
    "project": 6,
    "lose_views": 2,
    "books": 14,
    "crash_sink": 5,
}
# What goes other ways than the wire. Put between the other steps by dice of its own, so that a seed
# without it is the history that it was.
ERRANDS: dict[str, dict[str, int]] = {
    "by_hand": {"export": 3, "carry": 5, "receipt": 5},
    "manual": {"wish": 3},  # phones that hold back what others wrote
    "damage": {"rot": 1},
    "bulk": {"join": 2},  # documents in the place of the log, by far sooner than in earnest
}
ERRAND_PERCENT = 20  # of a world's errands, and before how many of its steps there is one
_ERRAND_SEED = 0xE44A4D
# Devices that hold a part of the account; by dice of their own, as the errands.
PARTS = {"scope": 6, "hand_to": 4, "lose_answer": 2}
PARTS_PERCENT = 10  # of the worlds
_PARTS_STEP_PERCENT = 20  # before how many of their steps there is one about a scope
_PARTS_SEED = 0x5C09E
BACKUPS = {
    "restore_phone": "backup_phone",
    "restore_raised": "backup_server",
    "restore_silent": "backup_server",
}
BACKUP_WEIGHT = 7


class Size(NamedTuple):
    """How large a world is at most: its phones, its least steps and how many more."""

    phones: int
    least: int
    more: int


# Most faults need few to show themselves, and small worlds are many; some need a long history.
SIZES = (Size(2, 8, 17), Size(2, 8, 17), Size(3, 20, 26), Size(3, 20, 26), Size(4, 30, 51))


class Step(NamedTuple):
    act: str
    seed: int

    def __str__(self) -> str:
        return f"{self.act}/{self.seed:x}"


class Options(NamedTuple):
    """What one seed's world is like."""

    phones: int
    servers: int
    skews_ms: tuple[int, ...]
    small_pages: bool
    one_probe: bool  # the clock is measured once for each connection
    real: bool  # SQLite under phones and read models, and nothing answered from memory
    faults: tuple[str, ...]
    errands: tuple[str, ...] = ()
    manual: tuple[bool, ...] = (False,) * 4
    parts: bool = False  # some devices hold a part of the account
    first: tuple[int, ...] = (0,) * 4  # dice of the scope that a phone begins with; 0 for none


class Plan(NamedTuple):
    seed: int
    options: Options
    steps: tuple[Step, ...]


def plan(seed: int, *, errands: bool = True) -> Plan:
    """The history that ``seed`` stands for, or the one that it was before there were errands."""
    dice = Dice(seed)
    faults = tuple(name for name in FAULTS if dice.chance(35))
    size = dice.pick(SIZES)
    options = Options(
        phones=2 + dice.below(size.phones - 1),
        servers=1 + dice.below(2),
        skews_ms=tuple(dice.pick(SKEWS_MS) if dice.chance(40) else 0 for _ in range(4)),
        small_pages=dice.chance(40),
        one_probe=dice.chance(70),
        real=dice.chance(3),
        faults=faults,
    )
    weights = {**ALWAYS, **{name: FAULTS[name] for name in faults}}
    weights |= {BACKUPS[name]: BACKUP_WEIGHT for name in faults if name in BACKUPS}
    acts = [name for name, weight in weights.items() for _ in range(weight)]
    steps = tuple(
        Step(dice.pick(acts), dice.throw()) for _ in range(size.least + dice.below(size.more))
    )
    made = Plan(seed, options, steps)
    if not errands:
        return made
    return _with_parts(_with_errands(made, Dice(seed ^ _ERRAND_SEED)), Dice(seed ^ _PARTS_SEED))


def _with_errands(plan: Plan, dice: Dice) -> Plan:
    errands = tuple(name for name in ERRANDS if dice.chance(ERRAND_PERCENT))
    acts = [act for name in errands for act, weight in ERRANDS[name].items() for _ in range(weight)]
    manual = tuple("manual" in errands and dice.chance(60) for _ in plan.options.manual)
    steps: list[Step] = []
    for step in plan.steps:
        if acts and dice.chance(ERRAND_PERCENT):
            steps.append(Step(dice.pick(acts), dice.throw()))
        steps.append(step)
    options = plan.options._replace(errands=errands, manual=manual)
    return plan._replace(options=options, steps=tuple(steps))


def _with_parts(plan: Plan, dice: Dice) -> Plan:
    if not dice.chance(PARTS_PERCENT):
        return plan
    first = tuple(dice.throw() if dice.chance(40) else 0 for _ in plan.options.first)
    acts = [act for act, weight in PARTS.items() for _ in range(weight)]
    steps: list[Step] = []
    for step in plan.steps:
        if dice.chance(_PARTS_STEP_PERCENT):
            steps.append(Step(dice.pick(acts), dice.throw()))
        steps.append(step)
    options = plan.options._replace(parts=True, first=first)
    return plan._replace(options=options, steps=tuple(steps))


@contextmanager
def bounds(options: Options) -> Iterator[None]:
    """Small frames and windows, so that a small world has many of them."""
    changed = (_SMALL if options.small_pages else ()) + (_ONE_PROBE if options.one_probe else ())
    changed += _BULK if "bulk" in options.errands else ()
    if options.parts:
        changed += _PARTS + (_PARTS_REAL if options.real else _PARTS_PLAIN)
    before = [(module, name, getattr(module, name)) for module, name, _ in changed]
    for module, name, value in changed:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


Bound = tuple[Any, str, Any]
_SMALL: tuple[Bound, ...] = (
    (downstream, "EVENTS_BYTES_TARGET", 400),
    (downstream, "FRAME_BYTES_MAX", 1_200),
    (downstream, "UNCONFIRMED_BYTES_MAX", 2_400),
    (device_peer, "PUSH_EVENTS_MAX", 2),
    (device_peer, "PUSHES_IN_FLIGHT_MAX", 2),
)
_BULK: tuple[Bound, ...] = (
    (device_chunks, "CHUNKED_EVENTS_MIN", 5),
    (chunks, "CHUNK_BYTES_TARGET", 400),
)
_PARTS: tuple[Bound, ...] = (
    (scoped, "SCOPE_PAGE_BYTES_TARGET", 700),
    (first_pages, "SCOPE_PAGE_BYTES_TARGET", 700),
    (mend, "RECONCILE_DOCUMENTS_MAX", 2),
    (session, "SCOPE_GATHER_MS", 0),  # of a clock that is not the world's
    (scope, "_COMPRESSION_LEVEL", 1),  # of a page of some hundred bytes
)
_PARTS_PLAIN = ((scoped, "scoping", PLAIN_SCOPING), (scoped, "layers", PLAIN_LAYERS))
_PARTS_REAL = ((scoped, "scoping", SQL_SCOPING),)
_ONE_PROBE: tuple[Bound, ...] = ((server_peer, "PROBE_SAMPLES", 1),)
