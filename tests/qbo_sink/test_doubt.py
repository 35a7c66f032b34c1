"""The in-doubt protocol as a pure decision."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from qbo_sink.doubt import Move, is_refusal, next_move, wait_ms
from replica.limits import QBO_DOUBT_WAITS_MS, QBO_LOOK_GAP_MS, QBO_REQUESTID_TRUST_MS


@dataclass
class Row:
    sends: int = 1
    looks: int = 0
    first_sent_ms: int = 0
    looked_ms: int = 0
    code: str = ""


@given(sends=st.integers(1, 50), first=st.integers(0, 10**9), due=st.integers(0, 10**9))
def test_a_look_comes_before_every_resend(sends: int, first: int, due: int) -> None:
    """Whoever has not looked since the last send looks first (§2.2)."""
    assert next_move(Row(sends, 0, first), due).move is Move.LOOK


@given(age=st.integers(0, 10 * QBO_REQUESTID_TRUST_MS), looks=st.integers(1, 3))
def test_an_old_request_needs_two_looks_a_minute_apart(age: int, looks: int) -> None:
    """While the id is remembered one empty look allows the resend, later two do (§2.2)."""
    row = Row(looks=looks, first_sent_ms=1_000, looked_ms=1_000 + age)
    step = next_move(row, 0)
    if age <= QBO_REQUESTID_TRUST_MS or looks >= 2:
        assert step.move is Move.SEND
    else:
        assert (step.move, step.due_ms) == (Move.LOOK, row.looked_ms + QBO_LOOK_GAP_MS)


def test_waits_grow_and_stay_bounded() -> None:
    """From two seconds to half an hour, and never beyond."""
    waits = [wait_ms(sends) for sends in range(30)]
    assert waits == sorted(waits)
    assert (waits[1], waits[-1]) == (QBO_DOUBT_WAITS_MS[0], QBO_DOUBT_WAITS_MS[-1])


def test_silence_is_never_a_refusal() -> None:
    """An outage may last; only an error that QuickBooks words again and again is a no."""
    assert not is_refusal(Row(sends=1_000))
    assert not is_refusal(Row(sends=2, code="1010"))
    assert is_refusal(Row(sends=3, code="1010"))
