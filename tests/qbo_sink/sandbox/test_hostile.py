"""Bodies nobody should send: every one is answered with a typed fault, never a crash."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import httpx2
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink.sandbox import InProcessTransport, Settings, Switches, create_sandbox
from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.schema import ENUMS, STRUCTS, Property
from qbo_sink.sandbox.values import write_json

_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=8),
    st.sampled_from(["1", "2", "TAX", "2026-11-20", "1e400", "NaN", "0.000000000001", "-5"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.sampled_from(["value", "Id", "Foo"]), st.text(max_size=3), max_size=2),
)


_FITTING: dict[str, st.SearchStrategy[Any]] = {
    "number": st.decimals("-100", "1000", places=2),
    "int": st.integers(-3, 40),
    "bool": st.booleans(),
    "date": st.sampled_from(["2026-11-20", "2020-02-29"]),
    "email": st.just("a@example.com"),
    "text": st.sampled_from(["1", "2", "n", "Estimate", "Invoice", "Vendor"]),
}


def _of(prop: Property, depth: int) -> st.SearchStrategy[Any]:
    if prop.type == "ref":
        fitting: st.SearchStrategy[Any] = st.sampled_from([{"value": "1"}, {"value": "79"}])
    elif prop.type == "enum":
        fitting = st.sampled_from(sorted(ENUMS[prop.arg]))
    elif prop.type in STRUCTS:
        fitting = _body(prop.type, depth - 1) if depth else st.just({})
    else:
        fitting = _FITTING.get(prop.type, _ODD)
    if prop.many:
        fitting = st.lists(fitting, max_size=3)
    return st.integers(0, 40).flatmap(lambda dice: fitting if dice else _ODD)


def _body(struct: str, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    some = st.lists(st.sampled_from(sorted(STRUCTS[struct])), max_size=9, unique=True)

    def fill(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({name: _of(STRUCTS[struct][name], depth) for name in names})

    return some.flatmap(fill)


_REQUEST = st.sampled_from(sorted(ENTITIES)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        st.sampled_from(["", "", "", "", "delete", "void"]),
        st.booleans(),
        _body(name, 3),
    )
)
_REQUIRED: dict[str, Any] = {
    "CustomerRef": {"value": "1"},
    "VendorRef": {"value": "1"},
    "AccountRef": {"value": "1"},
    "PaymentType": "Cash",
    "TotalAmt": "5",
    "Line": [
        {
            "Amount": "5",
            "DetailType": "SalesItemLineDetail",
            "SalesItemLineDetail": {"ItemRef": {"value": "1"}},
        }
    ],
    "Name": "n",
    "DisplayName": "d",
    "IncomeAccountRef": {"value": "79"},
    "PayType": "Check",
    "NameOf": "Employee",
}


@settings(max_examples=30, deadline=None)
@given(st.lists(_REQUEST, min_size=5, max_size=25))
def test_no_body_ends_in_a_crash(requests: list[tuple[str, str, bool, dict[str, Any]]]) -> None:
    """Whatever is sent, the answer is 200 or a Fault with a known code (issue 4, point 1).

    What was taken can still be listed in XML and reported on.
    """
    asyncio.run(_send(requests))


_REPORTED = ("GeneralLedger", "BalanceSheet", "AgedPayables", "TaxSummary", "ItemSales")
_LISTED = ("TransactionList", "JournalReport", "InventoryValuationSummary", "AgedReceivables")
_PATHS = st.sampled_from(
    [
        "query",
        "cdc",
        "batch",
        "upload",
        "customer/1",
        "customer",
        "invoice/1/pdf",
        "invoice/1/send",
        "download/1",
        "reports/ProfitAndLoss",
        "reports/GeneralLedger",
        "taxservice/taxcode",
        "exchangerate",
        "companyinfo/1",
        "recurringtransaction",
        "creditcardpayment",
        "",
        "a/b/c/d",
    ]
)
_WORDS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "select * from Customer where Id in ('1')",
            "select count(*) from Item",
            "2026-11-01",
            "Customer,Bill",
            "delete",
            "void",
            "xml",
            "Month",
            "allowduplicatedocnum,void",
            "1",
            "0",
            "AttachableRef.EntityRef.value",
            "select Line.Amount, * from Invoice orderby Balance",
        ]
    ),
)
_PARAMS = st.dictionaries(
    st.sampled_from(
        [
            "query",
            "entities",
            "changedSince",
            "operation",
            "include",
            "requestid",
            "sendTo",
            "start_date",
            "end_date",
            "date_macro",
            "summarize_column_by",
            "columns",
            "sort_by",
            "format",
            "minorversion",
            "customer",
            "account",
            "sourcecurrencycode",
            "asofdate",
        ]
    ),
    _WORDS,
    max_size=4,
)
_CONTENT = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(["Invoice", "IntuitBatchRequest", "TaxService"]).flatmap(
        lambda root: st.text(max_size=30).map(lambda text: f"<{root}>{text}</{root}>".encode())
    ),
    st.recursive(
        _ODD,
        lambda inner: st.dictionaries(
            st.sampled_from(
                [
                    "BatchItemRequest",
                    "bId",
                    "operation",
                    "Invoice",
                    "Query",
                    "CDCQuery",
                    "Id",
                    "Line",
                    "TaxCode",
                    "TaxRateDetails",
                    "RecurringInfo",
                    "CreditCardPaymentTxn",
                    "optionsData",
                ]
            ),
            st.one_of(inner, st.lists(inner, max_size=3)),
            max_size=4,
        ),
        max_leaves=8,
    ).map(write_json),
    st.binary(max_size=20).map(
        lambda data: (
            b'--b\r\nContent-Disposition: form-data; name="file_content_0"\r\n\r\n'
            + data
            + b"\r\n--b--"
        )
    ),
)
_TYPES = ["application/json", "application/xml", "multipart/form-data; boundary=b", "text/csv", ""]
_TYPES += ["application/json; charset=utf-16", "text/plain; charset=hex"]
_ANYTHING = st.tuples(
    st.sampled_from(["GET", "POST", "POST", "PUT", "DELETE"]),
    _PATHS,
    _PARAMS,
    st.sampled_from(_TYPES),
    st.sampled_from(["application/json", "application/xml", "*/*;q=x", ""]),
    st.sampled_from(["", "", "", "gzip", "deflate", "br"]),
    _CONTENT,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(_ANYTHING, min_size=10, max_size=40))
def test_no_request_ends_in_a_crash(requests: list[Any]) -> None:
    """Any verb, route, parameter, type and body is answered with 200 or a typed fault."""
    asyncio.run(_ask(requests))


async def _ask(requests: list[Any]) -> None:
    async with _connected() as (client, base):
        for method, path, params, kind, accept, encoding, content in requests:
            headers = {"Content-Type": kind, "Accept": accept, "Content-Encoding": encoding}
            answer = await client.request(
                method, f"{base}/{path}", params=params, headers=headers, content=content
            )
            assert answer.status_code in (200, 400), (method, path, params, kind, content)
            assert answer.status_code == 200 or b"Error" in answer.content


@contextlib.asynccontextmanager
async def _connected() -> AsyncIterator[tuple[httpx2.AsyncClient, str]]:
    """A client of a fresh sandbox, and the path of its company."""
    app = create_sandbox(settings=Settings(switches=Switches(throttle=False)))
    transport = InProcessTransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        tokens = (await client.post("/sandbox/connect", json={})).json()
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        yield client, f"/v3/company/{tokens['realmId']}"
    app.state.sandbox.close()


async def _send(requests: list[tuple[str, str, bool, dict[str, Any]]]) -> None:
    async with _connected() as (client, base):
        for name, operation, full, body in requests:
            needed = {key: _REQUIRED[key] for key in _REQUIRED if full and key in STRUCTS[name]}
            content = write_json(needed | body)
            url = f"{base}/{name.lower()}?operation={operation}"
            headers = {"Content-Type": "application/json"}
            answer = await client.post(url, content=content, headers=headers)
            assert answer.status_code in (200, 400), content
            if answer.status_code == 400:
                assert answer.json()["Fault"]["Error"][0]["code"]
        for name in {request[0] for request in requests}:
            text = {"query": " ".join(("select * from", name)), "format": "xml"}
            listed = await client.get(f"{base}/query", params=text)
            ElementTree.fromstring(listed.content)  # noqa: S314 (the sandbox's own answer)
        for report in (*_REPORTED, *_LISTED):
            assert (await client.get(f"{base}/reports/{report}")).status_code == 200, report


_BASIC = "Basic c2FuZGJveC1jbGllbnQ6c2FuZGJveC1zZWNyZXQ="
_FORMS = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(
        st.sampled_from(["grant_type", "code", "refresh_token", "redirect_uri", "token", "realm"]),
        st.one_of(st.text(max_size=6), st.sampled_from(["refresh_token", "authorization_code"])),
    ).map(lambda form: urlencode(form, errors="replace").encode()),
    st.dictionaries(st.sampled_from(["token", "client_id"]), _ODD).map(write_json),
    st.just(b"&".join(b"a=%d" % number for number in range(99))),
)
_GRANTS = st.tuples(
    st.sampled_from(["/oauth2/v1/tokens/bearer", "/v2/oauth2/tokens/revoke", "/connect/oauth2"]),
    st.one_of(st.just(_BASIC), st.binary(max_size=12).map(lambda raw: b"Basic " + raw)),
    _FORMS,
)


@settings(max_examples=15, deadline=None)
@given(st.lists(_GRANTS, min_size=10, max_size=40))
def test_no_grant_ends_in_a_crash(requests: list[Any]) -> None:
    """Tokens, revocation and consent refuse what they cannot read, with their own errors."""
    asyncio.run(_grant(requests))


async def _grant(requests: list[Any]) -> None:
    async with _connected() as (client, _):
        for path, basic, form in requests:
            headers = [(b"Authorization", basic), (b"X-Ignored", b"1")]
            answer = await client.post(path, headers=headers, content=form)
            assert answer.status_code in (200, 302, 400, 401), (path, basic, form)


def test_lines_nested_without_end_are_refused() -> None:
    """Bundles within bundles within bundles are a fault, not a stack overflow."""
    line: dict[str, Any] = {"DetailType": "GroupLineDetail"}
    for _ in range(200):
        line = {"DetailType": "GroupLineDetail", "GroupLineDetail": {"Line": [line]}}
    asyncio.run(_send([("Estimate", "", True, {"Line": [line]})]))
