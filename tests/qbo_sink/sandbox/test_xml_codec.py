"""XML requests and answers: what the codec keeps, refuses and survives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink.sandbox.media import wants_xml
from qbo_sink.sandbox.schema import STRUCTS
from qbo_sink.sandbox.xml_codec import NotXml, read_xml, write_xml
from tests.qbo_sink.sandbox.desk import Answer, Desk, order

SPACE = "{http://schema.intuit.com/finance/v3}"
XML = "application/xml"


def _root(answer: Answer) -> ElementTree.Element:
    assert answer.headers["content-type"] == "application/xml;charset=UTF-8"
    return ElementTree.fromstring(answer.content)  # noqa: S314 (the sandbox's own answer)


def _document(text: str) -> bytes:
    return f'<Invoice xmlns="http://schema.intuit.com/finance/v3">{text}</Invoice>'.encode()


ITEM = (
    "<Line><Amount>29</Amount><DetailType>SalesItemLineDetail</DetailType><SalesItemLineDetail>"
    "<ItemRef>1</ItemRef><UnitPrice>14.5</UnitPrice><Qty>2</Qty></SalesItemLineDetail></Line>"
)
_words = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=9).map(
    lambda text: f"x{text}x"
)
_object = st.fixed_dictionaries(
    {},
    optional={
        "DocNumber": _words,
        "CustomerRef": st.fixed_dictionaries({"value": _words}, optional={"name": _words}),
        "CustomerMemo": st.fixed_dictionaries({"value": _words}),
        "BillAddr": st.dictionaries(st.sampled_from(["Line1", "City"]), _words, min_size=1),
        "Line": st.lists(
            st.fixed_dictionaries({"Description": _words, "DetailType": _words}),
            min_size=2,
            max_size=3,
        ),
        "sparse": st.sampled_from(["true", "false"]),
    },
)


@settings(max_examples=100)
@given(_object)
def test_what_is_written_is_read_back(body: dict[str, Any]) -> None:
    """Text, references, memos, structs, lists and attributes survive the round (issue 4, 1)."""
    answer = write_xml({"Invoice": body, "time": "now"})
    assert read_xml(answer)["IntuitResponse"].get("Invoice") == body


def test_an_invoice_goes_in_and_comes_out_as_xml(desk: Desk) -> None:
    """Body, answer, read and query speak XML by the same rules and the schema's order."""
    desk.accept(XML)
    made = _root(
        desk.post(
            "invoice",
            _document(f"<CustomerRef>1</CustomerRef>{ITEM}<CustomerMemo>hi</CustomerMemo>"),
            XML,
        )
    )[0]
    assert (made.tag, made.attrib) == (SPACE + "Invoice", {"domain": "QBO", "sparse": "false"})
    names = [child.tag.removeprefix(SPACE) for child in made]
    order_of = list(STRUCTS["Invoice"])
    assert names == sorted(names, key=order_of.index)
    assert made.findtext(SPACE + "CustomerMemo") == "hi"
    party = made.find(SPACE + "CustomerRef")
    assert party is not None
    assert (party.text, party.get("name")) == ("1", "Harbour Deli")
    found = _root(desk.query("select * from Invoice"))[0]
    assert found.attrib == {"startPosition": "1", "maxResults": "1"}
    assert found[0].findtext(SPACE + "TotalAmt") == "29.00"
    assert _root(desk.query("select count(*) from Invoice"))[0].get("totalCount") == "1"


def test_batches_and_change_data_in_xml(desk: Desk) -> None:
    """Items, their ids and faults are where a batch in XML has them (sections 1.8, 1.9)."""
    desk.accept(XML)
    body = (
        b'<IntuitBatchRequest xmlns="http://schema.intuit.com/finance/v3">'
        b'<BatchItemRequest bId="a" operation="create"><Customer><DisplayName>X &amp; Y'
        b"</DisplayName></Customer></BatchItemRequest>"
        b'<BatchItemRequest bId="b"><Query>select * from Nothing</Query></BatchItemRequest>'
        b"</IntuitBatchRequest>"
    )
    first, second = _root(desk.post("batch", body, XML))
    assert (first.get("bId"), second.get("bId")) == ("a", "b")
    assert first[0].findtext(SPACE + "DisplayName") == "X & Y"
    error = second[0][0]
    assert (second[0].get("type"), error.get("code")) == ("ValidationFault", "4001")
    changed = _root(desk.get("cdc", entities="Customer,Bill", changedSince="2026-11-01"))[0]
    assert [child.get("totalCount") for child in changed] == ["6", "1"]


def test_faults_come_in_the_form_that_was_asked_for(desk: Desk) -> None:
    """Validation, authentication and unknown routes; JSON stays JSON (section 1.3)."""
    desk.accept(XML)
    stale = _root(desk.post("customer", {"Id": "1", "SyncToken": "9", "sparse": True}))
    assert stale[0][0].get("code") == "5010"
    unknown = _root(desk.post("invoice", _document("<CustomerRef>1</CustomerRef>\n<Foo/>"), XML))
    assert unknown[0][0].get("element") == "Foo"
    assert "line 2" in (unknown[0][0].findtext(SPACE + "Detail") or "")
    assert _root(desk.get("nothing/1"))[0][0].get("code") == "500"
    desk.headers["Authorization"] = "Bearer none"
    refused = desk.get("customer/1")
    assert (refused.status, _root(refused)[0].get("type")) == (401, "AUTHENTICATION")
    desk.headers["Accept"] = "application/json"
    assert desk.get("customer/1").json["fault"]["error"][0]["code"] == "3200"


@pytest.mark.parametrize(
    ("headers", "format_", "default", "xml"),
    [
        ({}, "", "json", False),
        ({}, "", "xml", True),
        ({"accept": "*/*"}, "", "xml", True),
        ({"accept": "*/*", "content-type": "application/json"}, "", "xml", False),
        ({"content-type": "text/xml; charset=utf-8"}, "", "json", True),
        ({"accept": "application/xml"}, "json", "json", False),
        ({"accept": "application/json, text/plain, */*"}, "", "xml", False),
        ({"accept": "application/json;q=0.4, application/xml;q=0.9"}, "", "json", True),
        ({"accept": "application/xml;q=x, application/json"}, "", "json", True),
        ({"accept": "application/json;q=0"}, "", "xml", True),
    ],
)
def test_who_gets_xml(headers: dict[str, str], format_: str, default: str, xml: bool) -> None:
    """Query, Accept, the body's own type, then the switch ``default_media`` (section 1.1)."""
    assert wants_xml(headers, {"format": format_}, default) is xml


BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><Invoice>&c;</Invoice>'
REACH = b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><Invoice/>'


@pytest.mark.parametrize(
    "body",
    [
        *(BOMB, REACH, b"", b"<", b"<Invoice>", b"<a/>", b"\xff\xfe<"),
        b"<Invoice>&nope;</Invoice>",
        b"<Invoice>" * 5_000,
        b'<?xml version="1.0" encoding="no-such"?><Invoice/>',
    ],
)
def test_hostile_documents_are_a_typed_fault(desk: Desk, body: bytes) -> None:
    """No document type is read, no depth overflows; the answer is a 2000 (issue 4, point 1)."""
    assert desk.post("invoice", body, XML, format="json").codes == [2000]


@settings(max_examples=150)
@given(st.binary(max_size=40), st.text(max_size=20))
def test_any_bytes_parse_or_are_not_xml(junk: bytes, text: str) -> None:
    """Reading ends in a value or in NotXml, whatever comes."""
    for data in (
        junk,
        b"<a>" + junk + b"</a>",
        f"<Invoice>{text}</Invoice>".encode(errors="replace"),
    ):
        try:
            read_xml(data)
        except NotXml:
            continue


def test_a_client_that_asks_for_nothing_gets_the_default(open_desk: Callable[..., Desk]) -> None:
    """JSON unless the switch says what the real default is (section 1.1)."""
    assert open_desk().get("customer/1").json["Customer"]["Id"] == "1"
    assert open_desk(default_media="xml").get("customer/1").content.startswith(b"<?xml")


def test_properties_that_xml_cannot_name_are_left_out(desk: Desk) -> None:
    """What a client stored under an impossible name does not break the document."""
    desk.save("Estimate", order(Tag={"a b": 1, "Fine": "yes"}))
    desk.accept(XML)
    row = _root(desk.query("select * from Estimate"))[0][0]
    tag = row.find(SPACE + "Tag")
    assert tag is not None
    assert [child.tag for child in tag] == [SPACE + "Fine"]
