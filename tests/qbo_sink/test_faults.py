"""Every outcome is one of five, and every fault has a cause and a fix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_sink.catalogue import CATALOGUE, PREFLIGHT, Class
from qbo_sink.faults import (
    Done,
    Expired,
    Refused,
    Throttled,
    Unknown,
    classify,
    describe,
    family_of,
)
from qbo_sink.model import Entity
from qbo_sink.wire import Answer, Fault, Lost, parse

# The codes of quickbooks.md §1.4, ranges written out.
DOCUMENTED = """
100 110 120 130 140 150 500 600 610 620 630 700 900 6150 6180 800 1000 1010 1020 1040 1050 2000
2010 2020 2030 2040 2050 2060 2070 2080 2090 2100 2110 2120 2130 2140 2150 2160 2170 2180 2190 2240
2200 2210 2220 2230 2250 2260 2270 2280 2290 2300 2500 2600 3000 3001 3100 3200 3202 4000 4001 4002
5000 5030 5010 5020 6000 6010 6070 6080 6090 6100 6140 6160 6170 6470 6190 6200 6210 6220 6480 6540
6240 6250 6270 6520 6420 6450 10000 10100 10200
"""


def answer(status: int, *faults: Fault) -> Answer:
    return Answer(status, "tid", {}, faults, "")


@pytest.mark.parametrize("code", [int(code) for code in DOCUMENTED.split()])
def test_every_documented_code_has_cause_and_fix(code: int) -> None:
    """The catalogue says why and what to do about each code (QB-19, QB-28)."""
    entry = CATALOGUE[code]
    assert len(entry.cause) > 15
    assert len(entry.fix) > 8
    assert entry.cause.endswith(".")
    assert entry.fix.endswith(".")


def test_faults_found_before_a_call_have_them_too() -> None:
    """No preflight code is blank (QB-19)."""
    assert all(entry.cause and entry.fix for entry in PREFLIGHT.values())


@given(code=st.integers(0, 99_999), message=st.text(), status=st.integers(400, 499))
def test_no_fault_is_ever_blank(code: int, message: str, status: int) -> None:
    """An unknown code still gets words, and its own text is kept (QB-27)."""
    outcome = classify(answer(status, Fault(code, message)), Entity.ESTIMATE)
    if isinstance(outcome, Refused):
        assert outcome.cause
        assert outcome.fix
        assert outcome.detail
    else:
        assert isinstance(outcome, Throttled | Expired | Unknown)


@given(status=st.integers(100, 599), content=st.binary(max_size=200))
def test_garbage_is_never_taken_for_a_document(status: int, content: bytes) -> None:
    """Bytes that hold no entity are never done (§1.1)."""
    outcome = classify(parse(status, {}, content), Entity.ESTIMATE)
    assert not isinstance(outcome, Done)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Answer(200, "", {"Estimate": {"Id": "1"}}, (), ""), Done),
        (Answer(200, "", {"Estimate": {}}, (), ""), Unknown),
        (Answer(200, "", None, (), "<html>"), Unknown),
        (answer(200, Fault(6140, "Duplicate")), Refused),
        (answer(400, Fault(2010, "property")), Refused),
        (answer(400, Fault(600, "seen")), Unknown),
        (answer(400, Fault(1010, "failed")), Unknown),
        (answer(500, Fault(10000, "error")), Unknown),
        (answer(503, Fault(0, "")), Unknown),
        (answer(503, Fault(150, "maintenance")), Throttled),
        (answer(429, Fault(3001, "throttle")), Throttled),
        (answer(403, Fault(3001, "throttle")), Throttled),
        (answer(401, Fault(3200, "token")), Expired),
        (Answer(401, "", None, (), ""), Expired),
        (answer(403, Fault(3100, "app")), Refused),
        (Answer(504, "", None, (), "stream timeout"), Unknown),
        (Lost("ReadTimeout"), Unknown),
        (Lost("ConnectError", sent=False), Throttled),
    ],
)
def test_outcomes(reply: Answer | Lost, kind: type) -> None:
    """Certain answers are told apart from those that leave it open (architecture.md §7)."""
    assert isinstance(classify(reply, Entity.ESTIMATE), kind)


def test_what_stops_the_connection_says_so() -> None:
    """A removed app and an ended subscription stop the company, not the row."""
    for code in (120, 3100, 6190):
        outcome = classify(answer(400, Fault(code, "x")), Entity.ESTIMATE)
        assert isinstance(outcome, Refused)
        assert outcome.kind is Class.STOP


@pytest.mark.parametrize(
    ("text", "family", "kind"),
    [
        (
            "The account period has closed and the account books cannot be updated",
            "closed_period",
            "H",
        ),
        ("The name supplied already is in use", "name_used", "A"),
        ("Make sure all your transactions have a sales tax rate before you save", "tax", "A"),
        ("The currency of the transaction is invalid", "currency", "H"),
        ("You have reached your usage limit", "limit", "H"),
        ("This document has been linked", "linked", "H"),
        ("Transaction total must be zero or greater", "below_zero", "H"),
        ("An unexpected error occurred: internal error -30006", "internal", "R"),
        ("something nobody has seen before", "", "H"),
    ],
)
def test_the_catch_all_code_is_read_by_its_text(text: str, family: str, kind: str) -> None:
    """Code 6000 means what its text says; what it says to nobody is for somebody (§2.6)."""
    entry, found = describe(Fault(6000, "A business validation error", text))
    assert (found, entry.kind) == (family, kind)
    assert family_of("6000", text) == family
