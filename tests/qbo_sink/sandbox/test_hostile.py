"""Bodies nobody should send: every one is answered with a typed fault, never a crash."""

from __future__ import annotations

import asyncio
from typing import Any

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


@settings(max_examples=100, deadline=None)
@given(st.lists(_REQUEST, min_size=5, max_size=20))
def test_no_body_ends_in_a_crash(requests: list[tuple[str, str, bool, dict[str, Any]]]) -> None:
    """Whatever is sent, the answer is 200 or a Fault with a known code (issue 4, point 1)."""
    asyncio.run(_send(requests))


async def _send(requests: list[tuple[str, str, bool, dict[str, Any]]]) -> None:
    app = create_sandbox(settings=Settings(switches=Switches(throttle=False)))
    transport = InProcessTransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as client:
        tokens = (await client.post("/sandbox/connect", json={})).json()
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        base = f"/v3/company/{tokens['realmId']}"
        for name, operation, full, body in requests:
            needed = {key: _REQUIRED[key] for key in _REQUIRED if full and key in STRUCTS[name]}
            content = write_json(needed | body)
            url = f"{base}/{name.lower()}?operation={operation}"
            headers = {"Content-Type": "application/json"}
            answer = await client.post(url, content=content, headers=headers)
            assert answer.status_code in (200, 400), content
            if answer.status_code == 400:
                assert answer.json()["Fault"]["Error"][0]["code"]
    app.state.sandbox.close()


def test_lines_nested_without_end_are_refused() -> None:
    """Bundles within bundles within bundles are a fault, not a stack overflow."""
    line: dict[str, Any] = {"DetailType": "GroupLineDetail"}
    for _ in range(200):
        line = {"DetailType": "GroupLineDetail", "GroupLineDetail": {"Line": [line]}}
    asyncio.run(_send([("Estimate", "", True, {"Line": [line]})]))
