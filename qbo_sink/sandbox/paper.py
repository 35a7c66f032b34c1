"""Printed and mailed documents: a one-page PDF, and sending that only records itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qbo_sink.sandbox.books import Company
from qbo_sink.sandbox.entities import Entity
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.replay import Reply
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import Json, stamp, write_json
from qbo_sink.sandbox.writes import Change

if TYPE_CHECKING:
    from qbo_sink.sandbox.api import Call

LINES_ON_PAGE_MAX = 40
_CHARS_IN_LINE_MAX = 90


def pdf(sandbox: Sandbox, company: Company, entity: Entity, id_: str) -> tuple[Reply, str]:
    """The document as a PDF of one page and its media type."""
    found = sandbox.books.live(company.realm, entity.name, id_)
    if found is None:
        raise refused(610, f"Object Not Found : {entity.name} {id_} does not exist")
    return Reply(200, one_page(_text(entity, found.body))), "application/pdf"


def send(call: Call, entity: Entity, id_: str) -> Reply:
    """Mark the document as mailed to ``sendTo`` or its own address; inside ``books.atomic()``."""
    books, company = call.sandbox.books, call.company
    found = books.live(company.realm, entity.name, id_)
    if found is None:
        raise refused(610, f"Object Not Found : {entity.name} {id_} does not exist")
    body = found.body
    address = call.params.get("sendto") or body.get("BillEmail", {}).get("Address", "")
    if not address:
        raise refused(6420, "There is no e-mail address to send to", "BillEmail")
    if "@" not in address or "." not in address:
        raise refused(2210, f"{address!r} is not an e-mail address", "sendTo")
    body["BillEmail"] = {"Address": address}
    body["EmailStatus"] = "EmailSent"
    when = stamp(books.clock.now_ms(), company.zone)
    body["DeliveryInfo"] = {"DeliveryType": "Email", "DeliveryTime": when}
    stored = books.put(company, entity, body)
    call.sandbox.announce(company, [Change(entity.name, id_, "Emailed")])
    return call.envelope(entity.name, write_json(stored))


def _text(entity: Entity, body: Json) -> list[str]:
    party = body.get("CustomerRef", {}).get("name", "")
    lines = [f"{entity.name} {body.get('DocNumber', body['Id'])}", body.get("TxnDate", ""), party]
    lines += [""]
    for line in body.get("Line", [])[:LINES_ON_PAGE_MAX]:
        name = line.get("Description") or line["DetailType"].removesuffix("LineDetail")
        lines.append(f"{name}   {line.get('Amount', '')}")
    return [*lines, "", f"Total {body.get('TotalAmt', '')}"]


def one_page(lines: list[str]) -> bytes:
    """A PDF 1.4 file with one A4 page of plain text."""
    shown = []
    for line in lines:
        cut = line[:_CHARS_IN_LINE_MAX].encode("latin-1", "replace")
        escaped = cut.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
        shown.append(b"(" + escaped.replace(b"\n", b" ") + b") Tj T*")
    text = b"BT /F1 11 Tf 14 TL 50 790 Td " + b" ".join(shown) + b" ET"
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R"
        b" /Resources << /Font << /F1 4 0 R >> >> >>"
    )
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        page,
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
    ]
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for offset in offsets:
        out += b"%010d 00000 n \n" % offset
    size = len(objects) + 1
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, start)
    return bytes(out)
