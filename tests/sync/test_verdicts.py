"""Runs of verdicts: spelled out, cut and joined they say the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replica.sync.messages import Decision, Outcome, Verdict
from replica.sync.verdicts import (
    PLACED,
    Answer,
    Settlement,
    add_verdict,
    answers,
    cut,
    highest_position,
    join,
)


@st.composite
def settlements(draw: st.DrawFn) -> Settlement:
    verdicts, position = [], 1
    for outcome in draw(st.lists(st.sampled_from(list(Outcome)), max_size=8)):
        count = draw(st.integers(1, 4))
        placed = outcome in PLACED
        verdicts.append(
            Verdict(
                outcome,
                count,
                position if placed else 0,
                7 if placed else 0,
                "" if placed else "code",
                "" if placed else "why",
            )
        )
        position += count + draw(st.integers(0, 2))
    total = sum(verdict.count for verdict in verdicts)
    indexes = draw(st.sets(st.integers(0, max(total - 1, 0)))) if total else set()
    decisions = tuple(Decision(index, bytes([index] * 16), index % 2) for index in sorted(indexes))
    return Settlement(tuple(verdicts), decisions)


def spelled(settlement: Settlement) -> list[Answer]:
    return list(answers(settlement.verdicts, settlement.decisions))


@given(settlements(), st.integers(0, 40), st.integers(0, 40))
def test_a_part_says_what_the_whole_says_there(whole: Settlement, start: int, count: int) -> None:
    """Cutting an answer at any place changes nothing about any event (I-3)."""
    assert spelled(cut(whole, start, count)) == spelled(whole)[start : start + count]


@given(settlements(), settlements())
def test_joined_answers_follow_each_other(one: Settlement, other: Settlement) -> None:
    """Joining keeps both in order, decisions included."""
    assert spelled(join(one, other)) == spelled(one) + spelled(other)


@given(settlements())
def test_runs_are_as_long_as_they_can_be(settlement: Settlement) -> None:
    """Adding events one by one gives the same answers in no more runs than before."""
    runs: list[Verdict] = []
    for answer in spelled(settlement):
        verdict = Verdict(
            answer.outcome, 1, answer.position, answer.received_ms, answer.code, answer.detail
        )
        add_verdict(runs, verdict)
    assert len(runs) <= len(settlement.verdicts)
    assert [a._replace(stamp=None, flags=0) for a in spelled(settlement)] == list(answers(runs, ()))


@given(settlements())
def test_the_highest_position_is_the_last_one_given(settlement: Settlement) -> None:
    """Asides have no position; without any it is 0."""
    given_out = [answer.position for answer in spelled(settlement)]
    assert highest_position(settlement.verdicts) == max(given_out, default=0)
