"""The accounting API under ``/v3/company/{realm}``: checks in the order of section 1.16."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from qbo_sink.sandbox import batch, feed, paper, rates, search, taxservice
from qbo_sink.sandbox.books import Company
from qbo_sink.sandbox.entities import BY_PATH, Entity
from qbo_sink.sandbox.faults import (
    Refused,
    lower_envelope,
    new_tid,
    not_authorized,
    refused,
    upper_envelope,
    xml_envelope,
)
from qbo_sink.sandbox.query import parse
from qbo_sink.sandbox.replay import Replay, Reply, checked_id, fingerprint
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import Json, read_json, stamp_ms, write_json
from qbo_sink.sandbox.writes import Written

JSON_TYPE = "application/json;charset=UTF-8"
BODY_BYTES_MAX = 8_388_608


@dataclass(frozen=True)
class Call:
    """One request to a company that passed authentication and throttling."""

    sandbox: Sandbox
    company: Company
    method: str
    segments: tuple[str, ...]
    params: dict[str, str]
    content_type: str
    body: bytes

    @property
    def time(self) -> str:
        """The ``time`` of the envelope."""
        return stamp_ms(self.sandbox.clock.now_ms(), self.company.zone)

    def envelope(self, name: str, value: bytes) -> Reply:
        """``{name: value, "time": …}`` around JSON that is written already."""
        parts = (b'{"', name.encode(), b'":', value, b',"time":"', self.time.encode(), b'"}')
        return Reply(200, b"".join(parts))


async def company(request: Request) -> Response:
    """Every route of the accounting API."""
    sandbox: Sandbox = request.app.state.sandbox
    tid = new_tid()
    headers = {"intuit_tid": tid, "QBO-Version": "1992.162", "Cache-Control": "no-store"}
    body = await request.body()
    try:
        reply, media = _answer(sandbox, request, body)
    except Refused as fault:
        reply, media = _fault(sandbox, request, fault, tid)
    return Response(reply.body, reply.status, headers | {"Content-Type": media})


def _answer(sandbox: Sandbox, request: Request, body: bytes) -> tuple[Reply, str]:
    grant = sandbox.grants.bearer(request.headers.get("authorization", ""))
    realm = request.path_params["realm"]
    known = sandbox.books.company(realm)
    if grant.realm != realm or known is None:
        raise not_authorized(f"The token is not valid for company {realm}")
    segments = tuple(part for part in request.path_params["rest"].lower().split("/") if part)
    if sandbox.switches.throttle:
        is_batch = segments[:1] == ("batch",)
        sandbox.throttle.admit(realm, sandbox.clock.now_ms(), batch=is_batch)
    if known.suspended:
        raise refused(6190, "Subscription period has ended or was canceled")
    if len(body) > BODY_BYTES_MAX:
        raise refused(2000, f"The request body is larger than {BODY_BYTES_MAX} bytes")
    params = {name.lower(): value for name, value in request.query_params.items()}
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    call = Call(sandbox, known, request.method, segments, params, content_type, body)
    if len(segments) == 3 and segments[2] == "pdf" and request.method == "GET":
        return paper.pdf(call.sandbox, known, _entity(segments[0], "pdf"), segments[1])
    return _routed(call), JSON_TYPE


def _fault(sandbox: Sandbox, request: Request, fault: Refused, tid: str) -> tuple[Reply, str]:
    now = sandbox.clock.now_ms()
    known = sandbox.books.company(request.path_params["realm"])
    zone = (known or sandbox.books.company(sandbox.settings.realm) or _no_company()).zone
    time = stamp_ms(now, zone)
    if fault.status == 401 and sandbox.switches.auth_envelope == "lower":
        return Reply(401, lower_envelope(fault, tid, now)), JSON_TYPE
    if fault.status == 429 and sandbox.switches.throttle_format != "json429":
        status = 403 if sandbox.switches.throttle_format == "xml403" else 429
        return Reply(status, xml_envelope(fault, time)), "application/xml;charset=UTF-8"
    return Reply(fault.status, upper_envelope(fault, time)), JSON_TYPE


def _no_company() -> Company:
    raise LookupError("the sample company is missing")


def _routed(call: Call) -> Reply:
    head, *rest = call.segments or ("",)
    special = _SPECIAL.get((call.method, head))
    if special is not None and (not rest or head in ("companyinfo", "taxservice")):
        return special(call)
    if call.method == "GET" and len(rest) == 1:
        return _read(call, _entity(head, "read"), rest[0])
    if call.method == "POST" and not rest:
        return _write(call, _entity(head, "write"))
    if call.method == "POST" and len(rest) == 2 and rest[1] == "send":
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
    found = call.sandbox.books.find(call.company.realm, entity.name, wanted)
    if found is None or found.deleted:
        state = "was deleted" if found else "does not exist"
        raise refused(610, f"Object Not Found : {entity.name} {id_} {state}")
    body = found.body
    if "invoicelink" in call.params.get("include", "").lower():
        _add_invoice_link(body)
    return call.envelope(entity.name, write_json(body))


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
            call.sandbox, call.company, _json(call), has_request_id="requestid" in call.params
        )
        return call.envelope("BatchItemResponse", write_json(value))

    return _once(call, run, batched=True)


def _exchange_rate(call: Call) -> Reply:
    code = call.params.get("sourcecurrencycode", "")
    body = rates.read(call.sandbox.books, call.company, code)
    return call.envelope("ExchangeRate", rates.as_json(body, call.params.get("asofdate", "")))


def _put_exchange_rate(call: Call) -> Reply:
    def run() -> Reply:
        stored = rates.write(call.sandbox.books, call.company, _json(call), call.body)
        return call.envelope("ExchangeRate", rates.as_json(stored))

    return _once(call, run)


def _tax_service(call: Call) -> Reply:
    def run() -> Reply:
        created = taxservice.create(call.sandbox.books, call.company, _json(call))
        return Reply(200, write_json(created))

    return _once(call, run)


def _write(call: Call, entity: Entity) -> Reply:
    if call.content_type not in ("", "application/json", "text/plain", "application/text"):
        raise refused(1050, f"{call.content_type} is not supported, send application/json")
    operation = call.params.get("operation", "").lower()
    include = frozenset(call.params.get("include", "").lower().split(","))

    def run() -> Reply:
        raw = _json(call)
        writer = call.sandbox.writer(call.company, include)
        if operation == "delete":
            written = writer.delete(entity, raw, call.body)
        elif operation == "void" or "void" in include:
            written = writer.void(entity, raw, call.body)
        elif operation in ("", "update", "create"):
            written = writer.save(entity, raw, call.body)
        else:
            raise refused(500, f"Operation {operation} is not supported for {entity.name}")
        return _done(call, entity, written)

    return _once(call, run)


def _done(call: Call, entity: Entity, written: Written) -> Reply:
    call.sandbox.announce(call.company, written.changes)
    return call.envelope(entity.name, write_json(written.reply))


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


def _json(call: Call) -> Any:
    try:
        return read_json(call.body)
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError) as problem:
        raise refused(2000, f"The request body is not JSON: {problem}") from problem


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
}
