"""The accounting API under ``/v3/company/{realm}``: checks in the order of section 1.16."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from qbo_sink.sandbox import (
    batch,
    feed,
    files,
    paper,
    rates,
    records,
    reports,
    search,
    taxservice,
)
from qbo_sink.sandbox.books import Company
from qbo_sink.sandbox.entities import BY_PATH, Entity, shown
from qbo_sink.sandbox.faults import (
    Refused,
    lower_envelope,
    new_tid,
    not_authorized,
    refused,
    upper_envelope,
)
from qbo_sink.sandbox.media import as_utf8, body_of, rendered, unpacked, wants_xml
from qbo_sink.sandbox.operations import perform
from qbo_sink.sandbox.query import parse
from qbo_sink.sandbox.replay import Replay, Reply, checked_id, fingerprint
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import Json, read_json, stamp_ms, write_json
from qbo_sink.sandbox.writes import Written
from qbo_sink.sandbox.xml_codec import XML_TYPES, NotXml, read_xml

BODY_BYTES_MAX = 8_388_608
UPLOAD_BYTES_MAX = 33_554_432
_BODY_TYPES = frozenset({"", "application/json", "text/plain", "application/text", *XML_TYPES})


@dataclass(frozen=True)
class Call:
    """One request to a company that passed authentication and throttling."""

    sandbox: Sandbox
    company: Company
    method: str
    segments: tuple[str, ...]
    params: dict[str, str]
    content_type_line: str
    body: bytes
    base: str  # the address that the client used, without a final slash

    @property
    def content_type(self) -> str:
        """The media type of the body, without its parameters."""
        return self.content_type_line.partition(";")[0].strip().lower()

    @property
    def time(self) -> str:
        """The ``time`` of the envelope."""
        return stamp_ms(self.sandbox.clock.now_ms(), self.company.zone)

    def envelope(self, name: str, value: bytes) -> Reply:
        """``{name: value, "time": …}`` around JSON that is written already."""
        parts = (b'{"', name.encode(), b'":', value, b',"time":"', self.time.encode(), b'"}')
        return Reply(200, b"".join(parts))


async def company(request: Request) -> Response:
    """Every route of the accounting API, answered no faster than ``Sandbox.answer_s``."""
    sandbox: Sandbox = request.app.state.sandbox
    answer, _ = await asyncio.gather(_exchange(sandbox, request), asyncio.sleep(sandbox.answer_s))
    return answer


async def _exchange(sandbox: Sandbox, request: Request) -> Response:
    tid = new_tid()
    headers = {"intuit_tid": tid, "QBO-Version": "1992.162", "Cache-Control": "no-store"}
    params = {name.lower(): value for name, value in request.query_params.items()}
    xml = wants_xml(request.headers, params, sandbox.switches.default_media)
    try:
        reply, media = _answer(sandbox, request, params, await body_of(request, UPLOAD_BYTES_MAX))
    except Refused as fault:
        reply, xml = _fault(sandbox, request, fault, tid, xml=xml)
        media = ""
    if reply.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="Intuit", error="invalid_token"'
    if media:
        return Response(reply.body, reply.status, headers | {"Content-Type": media})
    body, media = rendered(reply.body, xml=xml)
    return Response(body, reply.status, headers | {"Content-Type": media})


def _answer(
    sandbox: Sandbox, request: Request, params: dict[str, str], body: bytes
) -> tuple[Reply, str]:
    """The answer and its media type; no type where it is an object for the codec."""
    known = company_of(sandbox, request)
    segments = tuple(part for part in request.path_params["rest"].split("/") if part)
    head = segments[0].lower() if segments else ""
    if sandbox.switches.throttle:
        sandbox.throttle.admit(known.realm, sandbox.clock.now_ms(), batch=head == "batch")
    if known.suspended:
        raise refused(6190, "Subscription period has ended or was canceled")
    call = Call(
        sandbox,
        known,
        "GET" if request.method == "HEAD" else request.method,
        (head, *segments[1:]),
        params,
        request.headers.get("content-type", ""),
        _plain_body(request, body, UPLOAD_BYTES_MAX if head == "upload" else BODY_BYTES_MAX),
        str(request.base_url).rstrip("/"),
    )
    if call.method == "GET" and len(segments) == 3 and segments[2].lower() == "pdf":
        return paper.pdf(call.sandbox, known, _entity(head, "pdf"), segments[1])
    if call.method == "GET" and len(segments) == 2 and head == "download":
        return files.address(call, segments[1]), "text/plain;charset=UTF-8"
    return _routed(call), ""


def _plain_body(request: Request, body: bytes, limit: int) -> bytes:
    """The body as its client meant it: not packed, and text in UTF-8. XML says itself what it is
    in, and the parts of an upload each do. Raises ``Refused``."""
    line = request.headers.get("content-type", "")
    kind = line.partition(";")[0].strip().lower()
    try:
        plain = unpacked(body, request.headers.get("content-encoding", ""), limit)
        if kind not in XML_TYPES and not kind.startswith("multipart/"):
            plain = as_utf8(plain, line)
    except ValueError as problem:
        raise refused(2000, f"The request body cannot be read: {problem}") from problem
    if len(plain) > limit:
        raise refused(2000, f"The request body is larger than {limit} bytes")
    return plain


def company_of(sandbox: Sandbox, request: Request) -> Company:
    """The company of the path, if the bearer is for it. Raises ``Refused``: 3200, 3202, 3100."""
    grant = sandbox.grants.bearer(request.headers.get("authorization", ""))
    realm = request.path_params["realm"]
    known = sandbox.books.company(realm)
    if grant.realm != realm or known is None:
        raise not_authorized(f"The token is not valid for company {realm}")
    return known


def _fault(
    sandbox: Sandbox, request: Request, fault: Refused, tid: str, *, xml: bool
) -> tuple[Reply, bool]:
    """The envelope of ``fault``, and whether it goes out as XML."""
    now = sandbox.clock.now_ms()
    known = sandbox.books.company(request.path_params["realm"])
    time = stamp_ms(now, (known or sandbox.home).zone)
    if fault.status == 401 and sandbox.switches.auth_envelope == "lower" and not xml:
        return Reply(401, lower_envelope(fault, tid, now)), False
    status = fault.status
    if status == 429 and sandbox.switches.throttle_format != "json429":
        xml = True
        status = 403 if sandbox.switches.throttle_format == "xml403" else 429
    return Reply(status, upper_envelope(fault, time)), xml


def _routed(call: Call) -> Reply:
    head, *rest = call.segments or ("",)
    special = _SPECIAL.get((call.method, head))
    if special is not None and (not rest or head in ("companyinfo", "taxservice")):
        return special(call)
    if call.method == "GET" and head == "reports" and len(rest) == 1:
        found = reports.run(call.sandbox.books, call.company, rest[0], call.params)
        return Reply(200, write_json(found))
    if call.method == "GET" and len(rest) == 1:
        return _read(call, _entity(head, "read"), rest[0])
    if call.method == "POST" and not rest:
        return _write(call, _entity(head, "write"))
    if call.method == "POST" and len(rest) == 2 and rest[1].lower() == "send":
        entity = _entity(head, "send")
        return _once(call, lambda: paper.send(call, entity, rest[0]))
    raise refused(500, f"Operation {call.method} {'/'.join(call.segments)} is not supported")


def _entity(segment: str, verb: str) -> Entity:
    entity = BY_PATH.get(segment)
    if entity is None:
        raise refused(500, f"Unsupported Operation : {segment} is no known resource")
    if verb in ("pdf", "send") and verb not in entity.verbs:
        raise refused(500, f"Operation {verb} is not supported for {entity.name}")
    return entity


def _read(call: Call, entity: Entity, id_: str) -> Reply:
    wanted = "1" if entity.family == "single" else id_
    realm = call.company.realm
    found = call.sandbox.books.find(realm, entity.name, wanted)
    if found is None and entity.name == "Transfer":
        paid = call.sandbox.books.live(realm, "CreditCardPayment", id_)
        if paid is not None:
            return call.envelope("Transfer", write_json(records.as_transfer(paid.body)))
    if entity.name == "TaxCode" and call.company.is_us and id_.upper() in ("TAX", "NON"):
        rows = search.pseudo_tax_codes()
        row = next(each for each in rows if each["Id"] == id_.upper())
        return call.envelope("TaxCode", write_json(row))
    if found is None or found.deleted:
        state = "was deleted" if found else "does not exist"
        raise refused(610, f"Object Not Found : {entity.name} {id_} {state}")
    body = found.body
    if "invoicelink" in call.params.get("include", "").lower():
        _add_invoice_link(body)
    return call.envelope(entity.element, write_json(shown(entity, body)))


def _add_invoice_link(body: Json) -> None:
    """A link to pay exists where online payment is on and there is an address to send it to."""
    online = ("AllowOnlineCreditCardPayment", "AllowOnlineACHPayment", "AllowOnlinePayment")
    if any(body.get(name) for name in online) and "BillEmail" in body:
        body["InvoiceLink"] = f"https://pay.sandbox.invalid/invoice/{body['Id']}"


def _single(name: str) -> Callable[[Call], Reply]:
    return lambda call: _read(call, BY_PATH[name], "1")


def _query(call: Call) -> Reply:
    text = call.body.decode("utf-8", "replace") if call.method == "POST" else ""
    select = parse(text or call.params.get("query", ""))
    short = search.is_short(call.sandbox.switches.short_pages)
    value = search.run(call.sandbox.books, call.company, select, call.sandbox.switches, short=short)
    return call.envelope("QueryResponse", value)


def _cdc(call: Call) -> Reply:
    names, since = call.params.get("entities", ""), call.params.get("changedsince", "")
    value = feed.changes(
        call.sandbox.books, call.company, names, since, lag_ms=call.sandbox.switches.cdc_lag_ms
    )
    return call.envelope("CDCResponse", write_json([value]))


def _batch(call: Call) -> Reply:
    def run() -> Reply:
        value = batch.run(
            call.sandbox,
            call.company,
            _sent(call, "IntuitBatchRequest"),
            has_request_id="requestid" in call.params,
        )
        return call.envelope("BatchItemResponse", write_json(value))

    return _once(call, run, batched=True)


def _exchange_rate(call: Call) -> Reply:
    code = call.params.get("sourcecurrencycode", "")
    body = rates.read(call.sandbox.books, call.company, code)
    return call.envelope("ExchangeRate", rates.as_json(body, call.params.get("asofdate", "")))


def _put_exchange_rate(call: Call) -> Reply:
    def run() -> Reply:
        stored = rates.write(
            call.sandbox.books, call.company, _sent(call, "ExchangeRate"), call.body
        )
        return call.envelope("ExchangeRate", rates.as_json(stored))

    return _once(call, run)


def _tax_service(call: Call) -> Reply:
    def run() -> Reply:
        created = taxservice.create(call.sandbox.books, call.company, _sent(call, "TaxService"))
        return Reply(200, write_json(created))

    return _once(call, run)


def _upload(call: Call) -> Reply:
    return _once(call, lambda: files.upload(call))


def _write(call: Call, entity: Entity) -> Reply:
    if call.content_type not in _BODY_TYPES:
        raise refused(1050, f"{call.content_type} is not supported, send application/json")
    operation = call.params.get("operation", "").lower()
    include = frozenset(call.params.get("include", "").lower().split(","))

    def run() -> Reply:
        raw = _sent(call, entity.element)
        writer = call.sandbox.writer(call.company, include)
        written = perform(writer, entity, operation, raw, call.body)
        return _done(call, entity, written)

    return _once(call, run)


def _done(call: Call, entity: Entity, written: Written) -> Reply:
    call.sandbox.announce(call.company, written.changes)
    return call.envelope(entity.element, write_json(shown(entity, written.reply)))


def _once(call: Call, run: Callable[[], Reply], *, batched: bool = False) -> Reply:
    """Commit what ``run`` writes together with its answer, or give the first answer again."""
    books = call.sandbox.books
    request_id = checked_id(call.params.get("requestid", ""), batch=batched)
    if not request_id:
        with books.atomic():
            return run()
    memory = Replay(books, call.sandbox.switches, call.company.realm)
    target = "/".join(call.segments) + "?" + call.params.get("operation", "")
    mark = fingerprint(target.encode(), call.body)
    known = memory.recall(request_id, mark)
    if known is not None:
        return known
    with books.atomic():
        try:
            with books.step():
                reply = run()
        except Refused as fault:
            kept = Reply(fault.status, upper_envelope(fault, call.time))
            memory.keep(request_id, mark, kept)
            return kept
        memory.keep(request_id, mark, reply)
        return reply


def _sent(call: Call, root: str) -> Any:
    """The body as JSON holds it; ``root`` is what the root element of an XML body is called."""
    try:
        if call.content_type not in XML_TYPES:
            return read_json(call.body)
        document = read_xml(call.body)
        if root not in document:
            raise refused(2000, f"The root element must be {root}")
        return document[root]
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError) as problem:
        form = "XML" if isinstance(problem, NotXml) else "JSON"
        raise refused(2000, f"The request body is not {form}: {problem}") from problem


_SPECIAL: dict[tuple[str, str], Callable[[Call], Reply]] = {
    ("GET", "query"): _query,
    ("POST", "query"): _query,
    ("GET", "cdc"): _cdc,
    ("POST", "batch"): _batch,
    ("GET", "companyinfo"): _single("companyinfo"),
    ("GET", "preferences"): _single("preferences"),
    ("GET", "exchangerate"): _exchange_rate,
    ("POST", "exchangerate"): _put_exchange_rate,
    ("POST", "taxservice"): _tax_service,
    ("POST", "upload"): _upload,
}
