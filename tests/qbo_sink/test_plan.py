"""What to send, in which order, what waits for what: without a ledger or a clock."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from qbo_sink.model import OPEN, Entity, Key, Op, State
from qbo_sink.plan import Action, Change, Intent, decide, plan, sending_order

CUSTOMER = Key(Entity.CUSTOMER, "customer", "c-1")
ORDER = Key(Entity.ESTIMATE, "order", "o-1")


def intent(identity: int, key: Key, **values: object) -> Intent:
    made = Intent(identity, key, Op.CREATE, 1, f"h{identity}", b"", State.QUEUED, identity)
    return replace(made, **values)  # type: ignore[arg-type]


def order_key(identity: int) -> Key:
    return Key(Entity.ESTIMATE, "order", f"o-{identity}")


states = st.sampled_from(list(OPEN))
rows = st.lists(
    st.tuples(st.sampled_from(list(Entity)), states, st.integers(0, 3)), max_size=12
).map(
    lambda found: [
        intent(at, Key(entity, "x", f"{at}"), state=state, rank=rank)
        for at, (entity, state, rank) in enumerate(found)
    ]
)


@given(rows)
def test_the_failing_row_is_on_top_and_the_rest_keeps_its_order(found: list[Intent]) -> None:
    """An error belongs to the top row; below, customers, items and estimates (QB-15, QB-21)."""
    ordered = sending_order(found)
    assert sorted(i.id for i in ordered) == sorted(i.id for i in found)
    failing = [i.state in (State.FAULTED, State.PARKED) for i in ordered]
    assert failing == sorted(failing, reverse=True)
    queued = [i for i in ordered if i.state is State.QUEUED and i.rank == 0]
    entities = [list(Entity).index(i.key.entity) for i in queued]
    assert entities == sorted(entities)


@given(rows, st.booleans())
def test_every_open_row_gets_exactly_one_step(found: list[Intent], strict: bool) -> None:
    """Nothing in the queue is forgotten, and nothing that needs somebody is sent."""
    steps = plan(found, {}, set(), 0, strict_order=strict)
    assert [step.intent for step in steps] == sending_order(found)
    for step in steps:
        if step.intent.state in (State.FAULTED, State.PARKED, State.EXCLUDED):
            assert step.action is Action.HOLD
        if step.action is Action.SEND:
            assert step.intent.state in (State.QUEUED, State.IN_DOUBT, State.IN_FLIGHT)


def test_dependants_wait_and_unrelated_rows_pass() -> None:
    """Only the order of the failing customer waits, and says for whom (§2.3)."""
    failing = intent(1, CUSTOMER, state=State.PARKED, cause="A name clash.")
    mine, other = intent(2, order_key(2)), intent(3, order_key(3))
    steps = {
        step.intent.id: step for step in plan([mine, other, failing], {2: [CUSTOMER]}, set(), 0)
    }
    assert steps[2].action is Action.WAIT
    assert steps[2].reason == "waits for customer c-1: A name clash."
    assert steps[3].action is Action.SEND


def test_strict_order_holds_what_is_behind() -> None:
    """With the setting on, a failing row holds every later one and is named."""
    failing = intent(1, order_key(1), state=State.PARKED)
    steps = plan([intent(2, order_key(2)), failing], {}, set(), 0, strict_order=True)
    assert [step.action for step in steps] == [Action.HOLD, Action.WAIT]
    assert "order o-1" in steps[1].reason


def test_a_mapped_need_is_no_need() -> None:
    """The order goes as soon as its customer stands there."""
    (step,) = plan([intent(2, ORDER)], {2: [CUSTOMER]}, {CUSTOMER}, 0)
    assert step.action is Action.SEND


def test_a_row_waits_its_time() -> None:
    """A throttled row is sent from its due time on, and says when that is."""
    (step,) = plan([intent(2, ORDER, due_ms=5_000)], {}, set(), 4_999)
    assert (step.action, step.due_ms) == (Action.WAIT, 5_000)
    (step,) = plan([intent(2, ORDER, due_ms=5_000)], {}, set(), 5_000)
    assert step.action is Action.SEND


@given(
    wanted=st.sampled_from("ab"),
    cancelled=st.booleans(),
    acknowledged=st.sampled_from([None, "a", "b"]),
    state=st.none() | states,
)
def test_deciding_twice_changes_nothing_more(
    wanted: str, cancelled: bool, acknowledged: str | None, state: State | None
) -> None:
    """After a decision is carried out the next one is "nothing": replays send nothing (P46)."""
    current = None if state is None else intent(1, ORDER, state=state, hash="a")
    decision = decide(wanted, cancelled=cancelled, acknowledged_hash=acknowledged, current=current)
    if current is not None and state in (State.IN_FLIGHT, State.IN_DOUBT):
        assert decision.change is Change.NONE
    if decision.change is Change.NONE:
        return
    if decision.change is Change.CANCEL:
        after = None
    else:
        assert decision.op is not None
        after = intent(1, ORDER, hash=wanted, op=decision.op)
    again = decide(wanted, cancelled=cancelled, acknowledged_hash=acknowledged, current=after)
    assert again.change is Change.NONE


def test_what_is_acknowledged_is_not_sent_again() -> None:
    """Equal hashes mean done, whatever events come again (P46)."""
    assert decide("a", cancelled=False, acknowledged_hash="a", current=None).change is Change.NONE


def test_items_belong_to_the_office_once_they_stand_there() -> None:
    """An edit of a linked product sends nothing."""
    decision = decide("b", cancelled=False, acknowledged_hash="a", current=None, follows=False)
    assert decision.change is Change.NONE
