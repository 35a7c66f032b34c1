"""The query language: what it accepts, what it answers, which faults it gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink.sandbox.faults import Refused
from qbo_sink.sandbox.query import parse
from qbo_sink.sandbox.search import like
from tests.qbo_sink.sandbox.desk import Desk, order


def _names(desk: Desk, text: str) -> list[str]:
    return [row["DisplayName"] for row in desk.rows(text, "Customer")]


def test_conditions_order_and_pages(desk: Desk) -> None:
    """Comparison, IN, LIKE, sorting and pages as section 1.7 says, whatever the case."""
    assert _names(desk, "select * from customer where displayname like '%grocery'") == [
        "Corner Grocery"
    ]
    assert _names(desk, "SELECT * FROM Customer WHERE Id IN ('1','3') ORDERBY Id DESC") == [
        "Hillside School Kitchen",
        "Harbour Deli",
    ]
    page = "select * from Customer order by DisplayName startposition 2 maxresults 2;"
    assert _names(desk, page) == ["Harbour Deli", "Hillside School Kitchen"]
    raised = "select * from Customer where Id > '3' and Active = true"
    assert _names(desk, raised) == ["Old Mill Restaurant", "Station Cafe"]


def test_numbers_dates_and_times_compare_as_such(desk: Desk) -> None:
    """Values are quoted; numbers, dates and times with offset compare by value (section 1.7)."""
    desk.save("Estimate", order(TxnDate="2026-11-02"))
    for where in (
        "TotalAmt > '9.9'",
        "TotalAmt = '14.50'",
        "TxnDate < CURRENT_DATE",
        "TxnDate >= '2026-11-02'",
        "MetaData.LastUpdatedTime > '2026-11-18T00:00:00Z'",
        "Metadata.CreateTime < '2027-01-01'",
        "CustomerRef = '1'",
    ):
        found = desk.rows(" ".join(("select * from Estimate where", where)), "Estimate")
        assert len(found) == 1, where


def test_answers_have_the_documented_shape(desk: Desk) -> None:
    """Rows with startPosition and maxResults, an empty object, a total (section 1.7)."""
    found = desk.query("select Id, MetaData.CreateTime from Customer maxresults 2").json
    rows = found["QueryResponse"]
    assert (rows["startPosition"], rows["maxResults"]) == (1, 2)
    assert set(rows["Customer"][0]) == {"Id", "domain", "sparse", "MetaData"}
    assert desk.query("select * from Estimate").json["QueryResponse"] == {}
    counted = desk.query("select count(*) from Customer").json["QueryResponse"]
    assert counted == {"totalCount": 5}


def test_quote_is_escaped_with_a_backslash(desk: Desk) -> None:
    """O'Neil is found as O\\'Neil; two quotes are a parse error (section 1.7)."""
    desk.save("Customer", {"DisplayName": "O'Neil"})
    assert _names(desk, r"select * from Customer where DisplayName = 'O\'Neil'") == ["O'Neil"]
    doubled = desk.query("select * from Customer where DisplayName = 'O''Neil'")
    assert doubled.codes == [4000]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("select", 4000),
        ("select * from Customer where Balance > 5", 4000),
        ("select * from Customer where Id = '1' or Id = '2'", 4000),
        ("select * from Customer where Id ~ '1'", 4000),
        ("select * from Customer limit 5", 4000),
        ("select * from Nothing", 4001),
        ("select * from Customer where PrivateNote = 'x'", 4001),
        ("select * from Estimate where PrivateNote like '%rp%'", 4001),
        ("select * from Customer where CustomerTypeRef = '1'", 4001),
        ("select Foo from Customer", 4001),
        ("select * from Customer maxresults 0", 4001),
        ("select * from Customer startposition -1", 4001),
        ("select * from Estimate where TotalAmt > 'much'", 4001),
    ],
)
def test_bad_queries_have_their_codes(desk: Desk, text: str, code: int) -> None:
    """4000 for form, 4001 for meaning, with the words clients look for (section 1.4)."""
    answer = desk.query(text)
    assert answer.codes == [code]
    assert answer.error["Detail"].startswith(
        "QueryParserError: Encountered" if code == 4000 else "QueryValidationError:"
    )


def test_query_comes_by_get_or_post(desk: Desk) -> None:
    """The statement is a parameter or the body as application/text (section 1.1)."""
    headers = desk.headers | {"Content-Type": "application/text"}
    url = f"/v3/company/{desk.realm}/query"
    text = b"select * from Item where Name = 'Cheddar'"
    answer = desk.ask("POST", url, headers=headers, content=text)
    assert answer.json["QueryResponse"]["Item"][0]["Sku"] == "CH-100"


def test_pages_hold_100_rows_unless_asked_and_1000_at_most() -> None:
    """Default and ceiling of MAXRESULTS (section 1.7)."""
    assert parse("select * from Item").limit == 100
    assert parse("select * from Item maxresults 5000").limit == 1000


def test_pages_can_be_short(open_desk: Callable[..., Desk]) -> None:
    """With ``short_pages`` a full page comes back with a row less (section 1.17)."""
    desk = open_desk(short_pages=1.0)
    assert len(desk.rows("select * from Customer maxresults 3", "Customer")) == 2


def test_pseudo_tax_codes_come_on_top(open_desk: Callable[..., Desk]) -> None:
    """Asking for one tax code yields three more in US companies, by switch (section 1.7)."""
    text = "select * from TaxCode maxresults 1"
    assert len(open_desk().rows(text, "TaxCode")) == 4
    assert len(open_desk(taxcode_pseudo_rows=False).rows(text, "TaxCode")) == 1
    assert len(open_desk(country="GB").rows(text, "TaxCode")) == 1


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_any_text_parses_or_is_a_typed_fault(text: str) -> None:
    """No statement, however odd, ends in anything but a Select, 4000 or 4001."""
    for start in ("", "select * from ", "select * from Item where Name = "):
        code = 0
        try:
            parse(start + text)
        except Refused as fault:
            code = fault.problems[0].code
        assert code in (0, 4000, 4001)


@settings(max_examples=150)
@given(parts=st.lists(st.text("ab", max_size=3), min_size=1, max_size=4), gap=st.text("ab"))
def test_like_finds_what_was_built_from_the_pattern(parts: list[str], gap: str) -> None:
    """Text made by filling the gaps of a pattern always fits it."""
    assert like(gap.join(parts), "%".join(parts))
    assert not like(gap.join(parts) + "c", "%".join(parts) + "x")
