"""Answers in six formats, numbers both ways, statements that quote."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_sink.wire import (
    among,
    decimal,
    decode_body,
    encode_body,
    equals,
    parse,
    plain,
    quote,
    rows,
    select,
)

XML = b"""<?xml version="1.0"?><IntuitResponse xmlns="http://schema.intuit.com/finance/v3">
<Fault type="SERVICE"><Error code="3001"><Message>errorCode=003001; statusCode=429</Message>
<Detail>too many</Detail></Error></Fault></IntuitResponse>"""


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b'{"Fault":{"Error":[{"Message":"m","Detail":"d","code":"5010"}],"type":"V"}}', 5010),
        (b'{"Fault":{"Error":[{"Message":"m","code":"003001"}],"type":"SERVICE"}}', 3001),
        (b'{"fault":{"error":[{"message":"m","code":"3200"}],"type":"AUTHENTICATION"}}', 3200),
        (b'{"fault":{"error":[{"message":"errorCode=003200; statusCode=401"}]}}', 3200),
        (b'{"Fault":{"Error":[],"type":"SystemFault"}}', 0),
        (XML, 3001),
    ],
)
def test_faults_are_read_in_every_envelope(content: bytes, code: int) -> None:
    """JSON in either case and XML give the same fault (§1.1, §1.3)."""
    assert parse(400, {}, content).faults[0].code == code


@pytest.mark.parametrize(
    "content", [b"", b"stream timeout", b"<html><b>Bad</b></html>", b"<x", b"[]"]
)
def test_other_formats_are_answers_without_a_body(content: bytes) -> None:
    """HTML, text, broken XML and nothing are kept as an excerpt."""
    answer = parse(502, {"intuit_tid": "t"}, content)
    assert (answer.body, answer.faults, answer.tid) == (None, (), "t")
    assert "<" not in answer.excerpt or content == b"<x"


@given(st.binary(max_size=300), st.integers(100, 599))
def test_the_parser_never_raises(content: bytes, status: int) -> None:
    """Whatever a gateway sends is an answer."""
    assert parse(status, {}, content).status == status


def test_entity_declarations_are_not_expanded() -> None:
    """An XML bomb is text."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Fault><Error code="1">&a;</Error></Fault>'
    assert parse(400, {}, bomb).faults == ()


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=4, min_value=-(10**12), max_value=10**12
    )
)
def test_numbers_keep_every_digit(number: Decimal) -> None:
    """A Decimal goes out as a plain number and comes back equal."""
    data = encode_body({"n": plain(number)})
    assert b"e" not in data.lower()
    assert decimal(decode_body(data)["n"]) == number


@given(st.text(max_size=40))
def test_a_literal_ends_where_it_should(text: str) -> None:
    """Quotes and backslashes of a name cannot leave the literal."""
    inner = quote(text)[1:-1]
    assert inner.replace("\\\\", "").replace("\\'", "").count("'") == 0
    assert (
        inner.replace("\\\\", "\0").replace("\\'", "'").replace("\0", "\\") == text or "\0" in text
    )


def test_statements_are_ordered_pages() -> None:
    """A page is asked for by position under a stable order."""
    statement = select("Item", among("Sku", ["a", "b'c"]), equals("Name", "x"), start=101, limit=50)
    assert statement == (
        r"SELECT * FROM Item WHERE Sku IN ('a', 'b\'c') AND Name = 'x' "
        "ORDERBY Id STARTPOSITION 101 MAXRESULTS 50"
    )
    assert rows({"QueryResponse": {}}, "Item") == []
