"""Running a parsed query over the books."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from qbo_sink.sandbox.books import Books, Company, Facts
from qbo_sink.sandbox.entities import US_TAX_CODES, shown
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.query import Condition, Select
from qbo_sink.sandbox.schema import STRUCTS
from qbo_sink.sandbox.switches import Switches
from qbo_sink.sandbox.values import Json, number, read_json, read_time_ms, today, write_json

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    ">": lambda a, b: bool(a > b),
    "<=": lambda a, b: bool(a <= b),
    ">=": lambda a, b: bool(a >= b),
}


def run(
    books: Books, company: Company, select: Select, switches: Switches, *, short: bool = False
) -> bytes:
    """The JSON value of ``QueryResponse``. ``short`` leaves out the last row of a full page."""
    facts = books.facts(company.realm, select.entity)
    ids = _matching(books, company, select, facts)
    if select.count:
        return write_json({"totalCount": len(ids)})
    page = ids[select.start - 1 : select.start - 1 + select.limit]
    if short and len(page) > 1:
        page = page[:-1]
    bodies = books.bodies(company.realm, select.entity.name, page)
    if select.entity.name == "RecurringTransaction":
        bodies = [write_json(shown(select.entity, read_json(body))) for body in bodies]
    elif select.properties is not None:
        bodies = [write_json(_project(read_json(body), select.properties)) for body in bodies]
    on_top = switches.taxcode_pseudo_rows and company.is_us and not select.conditions
    if select.entity.name == "TaxCode" and on_top and select.start == 1:
        bodies = [write_json(row) for row in pseudo_tax_codes()] + bodies
    if not bodies:
        return b"{}"
    tail = f'],"startPosition":{select.start},"maxResults":{len(bodies)}}}'
    head = f'{{"{select.entity.element}":['
    return head.encode() + b",".join(bodies) + tail.encode()


def is_short(probability: float) -> bool:
    """Whether this page comes back with a row less than asked."""
    return probability > 0 and random.random() < probability


def pseudo_tax_codes() -> list[Json]:
    """The rows that US companies answer on top of any page of tax codes; no SyncToken."""
    return [
        {
            "Name": name,
            "Description": name,
            "Active": True,
            "Taxable": name != "NON",
            "TaxGroup": False,
            "domain": "QBO",
            "sparse": False,
            "Id": name,
        }
        for name in US_TAX_CODES
    ]


def _matching(books: Books, company: Company, select: Select, facts: dict[int, Facts]) -> list[int]:
    conditions = list(select.conditions)
    if "active" in select.entity.filters and not any(c.path == "active" for c in conditions):
        conditions.append(Condition("active", "=", (True,)))
    day = today(books.clock.now_ms(), company.zone)
    tests = [_test(select, condition, company, day) for condition in conditions]
    for index, condition in enumerate(conditions):
        if _is_many(select, condition.path):
            tests[index] = _any_of(tests[index], condition.path)
    rows = [(id_, row) for id_, row in facts.items() if all(test(row) for test in tests)]
    rows.sort(key=lambda pair: pair[0])
    for order in reversed(select.order):
        kind = select.entity.filters[order.path][1]
        key = _sort_key(order.path, kind, company)
        rows.sort(key=key, reverse=order.descending)
    return [id_ for id_, _ in rows]


def _sort_key(path: str, kind: str, company: Company) -> Callable[[tuple[int, Facts]], Any]:
    def key(pair: tuple[int, Facts]) -> Any:
        value = pair[1][path]
        if isinstance(value, list):
            value = value[0] if value else None
        return (value is not None, _typed(value, kind, company) if value is not None else 0)

    return key


def _typed(value: Any, kind: str, company: Company) -> Any:
    if kind == "number":
        return number(value)
    if kind == "id":
        text = str(value)
        return int(text) if text.isdigit() else -1
    if kind == "bool":
        return str(value).lower() == "true"
    if kind == "time":
        return read_time_ms(str(value), company.zone)
    return str(value).casefold()


def _is_many(select: Select, path: str) -> bool:
    head = select.entity.filters[path][0].partition(".")[0]
    return STRUCTS[select.entity.name][head].many


def _any_of(test: Callable[[Facts], bool], path: str) -> Callable[[Facts], bool]:
    """``test`` on each value of a property of a list's entries; one that fits is enough."""

    def matches(row: Facts) -> bool:
        values = row[path]
        if not isinstance(values, list):
            return test(row)
        return any(test({path: value}) for value in values)

    return matches


def _test(
    select: Select, condition: Condition, company: Company, day: str
) -> Callable[[Facts], bool]:
    path, kind = condition.path, select.entity.filters[condition.path][1]
    if condition.operator == "LIKE":
        pattern = str(condition.values[0])
        return lambda row: row[path] is not None and like(str(row[path]), pattern)
    literals = [day if v == "CURRENT_DATE" else v for v in condition.values]
    try:
        wanted = [_typed(literal, kind, company) for literal in literals]
    except ValueError as problem:
        name = select.entity.filters[path][0]
        detail = f"QueryValidationError: value of {name} is not a {kind}"
        raise refused(4001, detail) from problem
    if kind == "date":
        wanted = [str(value)[:10] for value in wanted]

    def matches(row: Facts) -> bool:
        value = row[path]
        if value is None:
            if kind not in ("number", "bool"):
                return condition.operator == "!="
            value = Decimal(0) if kind == "number" else False
        here = _typed(value, kind, company)
        if condition.operator == "IN":
            return here in wanted
        return _COMPARE[condition.operator](here, wanted[0])

    return matches


def like(text: str, pattern: str) -> bool:
    """Whether ``text`` fits ``pattern``, in which ``%`` stands for anything; case is ignored."""
    first, *rest = pattern.casefold().split("%")
    text = text.casefold()
    if not rest:
        return text == first
    last = rest.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in rest:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def _project(body: Json, properties: list[str]) -> Json:
    found: Json = {"Id": body["Id"], "domain": "QBO", "sparse": True}
    for path in properties:
        source: Any = body
        target = found
        *parents, last = path.split(".")
        for part in parents:
            source = source.get(part, {}) if isinstance(source, dict) else {}
            target = target.setdefault(part, {})
        if isinstance(source, dict) and last in source:
            target[last] = source[last]
    return found
