"""The very requests that published clients send, byte for byte where the bytes matter.

Each was seen from an unmodified client that was pointed at the sandbox by its address; the list is
in docs/quickbooks-sandbox.md. No client is needed to run these.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from urllib.parse import quote

import pytest

from qbo_sink.sandbox.api import BODY_BYTES_MAX
from qbo_sink.sandbox.values import write_json
from tests.qbo_sink.sandbox.desk import Answer, Desk, Json, order

NODE = {"minorversion": "75", "format": "json"}
TAP_ENTITIES = (
    "Account,BillPayment,Bill,Budget,Class,CreditMemo,Customer,Department,Deposit,Employee,"
    "Estimate,Invoice,Item,JournalEntry,PaymentMethod,Payment,PurchaseOrder,Purchase,"
    "RefundReceipt,SalesReceipt,Term,Transfer,VendorCredit,Vendor"
)


def _raw(desk: Desk, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
    """A request whose path and query go out as they are written here."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"/v3/company/{desk.realm}/{target}"
    return desk.ask(method, url, content=body, headers=desk.headers | named)


def test_node_quickbooks_queries_and_updates(desk: Desk) -> None:
    """Lower-case keywords, half-encoded criteria, an own Request-Id, ``include=void`` beside
    ``operation=update``, requests without Accept for JSON but ``format=json``."""
    desk.save("Customer", {"DisplayName": "O'Brien & Sons #1"})
    where = "DisplayName LIKE %27%25O%5C%27Brien %26 Sons %231%27 orderby MetaData.CreateTime desc"
    target = f"query?query=select * from customer where {where} startposition 1 maxresults 9"  # noqa: S608
    found = _raw(desk, "GET", target + "&minorversion=75&format=json", Request_Id="7f3b")
    assert found.json["QueryResponse"]["Customer"][0]["DisplayName"] == "O'Brien & Sons #1"
    paid = desk.save("Payment", {"CustomerRef": {"value": "1"}, "TotalAmt": 4})
    body = write_json({**paid, "sparse": True})
    target = "payment?operation=update&include=void&minorversion=75&format=json"
    voided = _raw(desk, "POST", target, body, Content_Type="application/json", Accept="*/*")
    assert voided.json["Payment"]["TotalAmt"] == 0
    report = desk.get("reports/TransactionListByCustomer", **NODE, start_date="2026-01-01")
    assert report.json["Header"]["ReportName"] == "TransactionListByCustomer"


def test_python_quickbooks_reads_and_uploads(desk: Desk) -> None:
    """Queries by POST as application/text, ``*, Sku``, reads with a type, hand-made uploads."""
    for text in (b"SELECT *, Sku FROM Item MAXRESULTS 1", b"SELECT * FROM Item  MAXRESULTS 1"):
        asked = _raw(desk, "POST", "query?minorversion=75", text, Content_Type="application/text")
        assert asked.json["QueryResponse"]["Item"][0]["Sku"] == "CH-100"
    counted = _raw(
        desk,
        "POST",
        "query?minorversion=75",
        b"SELECT COUNT(*) FROM Customer WHERE Active = True",
        Content_Type="application/text",
    )
    assert counted.json["QueryResponse"]["totalCount"] == 5
    read = _raw(
        desk, "GET", "vendor/1?minorversion=75", Content_Type="application/json", Accept="*/*"
    )
    reference = {"value": "1", "name": read.json["Vendor"]["DisplayName"], "type": "Vendor"}
    about: Json = {"AttachableRef": [{"EntityRef": reference}], "FileName": "t.txt", "Note": ""}
    about |= {"ContentType": "text/plain", "Size": None, "Lat": None, "FileAccessUri": None}
    mark = b"-------------PythonMultipartPost"
    lines = [
        b"",
        b"--" + mark,
        b'Content-Disposition: form-data; name="file_metadata_01"',
        b"Content-Type: application/json",
        b"",
        write_json(about),
        b"",
        b"--" + mark,
        b'Content-Disposition: form-data; name="file_content_01"',
        b"Content-Type: text/plain",
        b"Content-Transfer-Encoding: base64",
        b"",
        base64.b64encode(b"hello"),
        b"",
        b"--" + mark + b"--",
        b"",
    ]
    kind = "multipart/form-data; boundary=" + mark.decode()
    made = desk.post("upload", b"\n".join(lines), kind).json["AttachableResponse"][0]["Attachable"]
    assert (made["Size"], made["AttachableRef"][0]["EntityRef"]["value"]) == (5, "1")


def test_qbosdk_uploads_then_links(desk: Desk) -> None:
    """A part name with a final semicolon, no reference in the metadata; then the whole object is
    sent to ``/attachable`` with its reference, which is an update."""
    bill = desk.rows("select * from Bill", "Bill")[0]["Id"]
    body = (
        b'\n--YOjc\nContent-Disposition: form-data; name="file_metadata_01";\n'
        b'Content-Type: application/json\n\n{"ContentType": "image/png"}\n--YOjc\n'
        b'Content-Disposition: form-data; name="file_content_01"; filename="x.png"\n'
        b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
        + base64.b64encode(b"\x89PNG")
        + b"\n--YOjc--\n"
    )
    answer = desk.post("upload", body, "multipart/form-data; boundary=YOjc", minorversion="75")
    made = answer.json["AttachableResponse"][0]["Attachable"]
    assert (made["FileName"], made["Size"]) == ("x.png", 4)
    linked = made | {"AttachableRef": [{"EntityRef": {"type": "Bill", "value": bill}}]}
    again = desk.save("Attachable", linked)
    assert (again["Id"], again["SyncToken"], again["Size"]) == (made["Id"], "1", 4)


def test_extractors_read_by_time(desk: Desk) -> None:
    """Batches of queries with long item ids, windows with offsets, day-wise reports, all of CDC."""
    since = "2026-11-01T00:00:00.000000Z"
    items = [
        {
            "bId": name,
            "Query": f"SELECT * FROM {name} WHERE Metadata.LastUpdatedTime >= '{since}' "  # noqa: S608
            "ORDER BY Metadata.LastUpdatedTime ASC STARTPOSITION 1 MAXRESULTS 200",
        }
        for name in ("CustomerType", "PurchaseOrder", "TimeActivity", "Budget", "TaxAgency")
    ]
    answered = desk.post("batch", {"BatchItemRequest": items}).json["BatchItemResponse"]
    assert [each["bId"] for each in answered if "Fault" not in each] == [i["bId"] for i in items]
    changed = desk.get("cdc", entities=TAP_ENTITIES, changedSince="2026-11-01T00:00:00Z")
    assert len(changed.json["CDCResponse"][0]["QueryResponse"]) == 24
    window = "MetaData.LastUpdatedTime > '2026-11-01T00:00:00+00:00' AND "
    window += "Metadata.LastUpdatedTime <= '2026-12-01T00:00:00+00:00' AND Active IN (true, false)"
    text = f"SELECT * FROM Account WHERE {window} ORDER BY Metadata.LastUpdatedTime ASC "  # noqa: S608
    found = _raw(desk, "GET", "query?query=" + quote(text + "STARTPOSITION 1 MAXRESULTS 200"))
    assert len(found.json["QueryResponse"]["Account"]) == 17
    days = {"start_date": "2026-11-01", "end_date": "2026-11-18", "summarize_column_by": "Days"}
    columns = desk.get("reports/ProfitAndLoss", **days).json["Columns"]["Column"]
    dated = [
        about["Value"]
        for column in columns
        for about in column["MetaData"]
        if about["Name"] == "StartDate"
    ]
    assert dated == [f"2026-11-{day:02d}" for day in range(1, 19)]


def test_clients_that_send_and_deactivate(desk: Desk) -> None:
    """Sending is a POST of nothing as octets; names are switched off by two properties."""
    made = desk.save("Estimate", order(), requestid="a" * 32)
    sent = desk.post(
        f"estimate/{made['Id']}/send", b"", "application/octet-stream", sendTo="a+b@example.com"
    )
    assert sent.json["Estimate"]["BillEmail"]["Address"] == "a+b@example.com"
    gone = {"Id": "1", "SyncToken": "0", "Active": False, "sparse": True}
    assert desk.save("Customer", gone, requestid="b" * 32)["Active"] is False


def test_xml_clients_with_prefixed_names(desk: Desk) -> None:
    """Prefixed elements, blanks between them, nil dates, an update with ``sparse`` set."""
    body = b"""<?xml version="1.0" encoding="UTF-8"?>
    <ns0:Customer xmlns:ns0="http://schema.intuit.com/finance/v3" domain="QBO" sparse="true"
        xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="a b">
      <ns0:OpenBalanceDate xsi:nil="true"/>
      <ns0:Id>1</ns0:Id><ns0:SyncToken>0</ns0:SyncToken>
      <ns0:PrimaryEmailAddr><ns0:Address>new@example.com</ns0:Address></ns0:PrimaryEmailAddr>
    </ns0:Customer>"""
    desk.accept("application/xml")
    answer = desk.post("customer", body, "application/xml", operation="update")
    assert b"<Address>new@example.com</Address>" in answer.content
    assert b"<DisplayName>Harbour Deli</DisplayName>" in answer.content
    head = b"<Customer><Id>1</Id><SyncToken>1</SyncToken></Customer>"
    refused = desk.post("customer", head, "text/xml", operation="delete")
    assert b'<Error code="500">' in refused.content


def test_intuits_java_client_compresses_what_it_sends(desk: Desk) -> None:
    """Bodies in gzip, the encoding named on requests without a body, a final ``&``, an old minor
    version, a query as gzipped text, and all of a part by ``Line.*`` (issue 4, point 1)."""
    tail = "minorversion=73&"
    packed = {"Content_Encoding": "gzip", "Accept_Encoding": "gzip", "Accept": "application/json"}
    json = packed | {"Content_Type": "application/json"}
    made = _raw(
        desk, "POST", f"invoice?requestid=0b1c&{tail}", gzip.compress(write_json(order())), **json
    )
    id_ = made.json["Invoice"]["Id"]
    assert _raw(desk, "GET", f"invoice/{id_}?{tail}", b"", **packed).json["Invoice"]["Id"] == id_
    text = gzip.compress(
        b"SELECT Id, Line.*, MetaData.* FROM Invoice WHERE Id = '" + id_.encode() + b"'"
    )
    asked = _raw(desk, "POST", f"query?{tail}", text, **packed, Content_Type="application/text")
    (row,) = asked.json["QueryResponse"]["Invoice"]
    assert len(row["Line"]) == 2
    assert row["MetaData"] == made.json["Invoice"]["MetaData"]
    sent = _raw(desk, "POST", f"invoice/{id_}/send?sendTo=a@example.com&{tail}", b"", **packed)
    assert sent.json["Invoice"]["EmailStatus"] == "EmailSent"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content_Encoding": "deflate"}, zlib.compress(b'{"DisplayName":"Caf\xc3\xa9"}')),
        (
            {"Content_Encoding": "deflate"},
            zlib.compress(b'{"DisplayName":"Caf\xc3\xa9"}', wbits=-15),
        ),
        ({"Content_Encoding": "identity"}, b'\xef\xbb\xbf{"DisplayName":"Caf\xc3\xa9"}'),
        ({"Content_Type": "Application/JSON; Charset=ISO-8859-1"}, b'{"DisplayName":"Caf\xe9"}'),
    ],
)
def test_bodies_are_read_as_their_headers_say(
    desk: Desk, headers: dict[str, str], body: bytes
) -> None:
    """Both kinds of deflate, a byte order mark and another character set all say the same name
    (section 1.1)."""
    answer = _raw(desk, "POST", "customer", body, **{"Content_Type": "application/json"} | headers)
    assert answer.json["Customer"]["DisplayName"] == "Café"


def test_what_cannot_be_unpacked_is_refused(desk: Desk) -> None:
    """Another encoding, damage, an unknown character set, and a small body that would unpack to
    more than a body may hold are each 2000 (section 1.4)."""
    bomb = gzip.compress(bytes(BODY_BYTES_MAX + 1))
    for encoding, kind, body in (
        ("br", "application/json", b"{}"),
        ("gzip", "application/json", b"{}"),
        ("gzip", "application/json", gzip.compress(b"{}" * 50)[:-9]),
        ("", "application/json; charset=nowhere", b"{}"),
        ("gzip", "application/json", bomb),
    ):
        headers = {"Content_Encoding": encoding, "Content_Type": kind}
        assert _raw(desk, "POST", "customer", body, **headers).codes == [2000], (encoding, kind)


def test_a_head_request_is_a_read(desk: Desk) -> None:
    """Clients that look whether something is there get the status of the read (section 1.1)."""
    assert _raw(desk, "HEAD", "customer/1").status == 200
    assert _raw(desk, "HEAD", "customer/999").status == 400
