"""What travels to and from QuickBooks, as values: numbers, statements, answers in six formats.

An answer may be JSON with ``Fault`` or lower-case ``fault``, XML ``IntuitResponse``, HTML, plain
text, or nothing at all (quickbooks.md §1.1); the parser takes them all and never raises. Money is
``Decimal`` both ways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple
from xml.etree import ElementTree as Xml

import msgspec

from qbo_sink.model import JsonObject
from replica.limits import QBO_EXCERPT_CHARS

_encoder = msgspec.json.Encoder(decimal_format="number", order="sorted")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


class Fault(NamedTuple):
    """One error as QuickBooks worded it. ``code`` is 0 when none was given."""

    code: int
    message: str
    detail: str = ""
    element: str = ""
    type: str = ""


class Answer(NamedTuple):
    """A complete answer. ``body`` is None when it was not a JSON object."""

    status: int
    tid: str
    body: JsonObject | None
    faults: tuple[Fault, ...]
    excerpt: str  # of an answer in another format, for the attempt log
    retry_after_s: int | None = None


class Lost(NamedTuple):
    """No answer. ``sent`` is False only when the request certainly never left."""

    reason: str
    sent: bool = True


Reply = Answer | Lost


def encode_body(body: JsonObject) -> bytes:
    """Sorted JSON with Decimals as plain numbers: equal bodies give equal bytes."""
    return _encoder.encode(body)


def decode_body(data: bytes) -> JsonObject:
    """What ``encode_body`` gave; numbers with a fraction come back as Decimal."""
    value: JsonObject = _decoder.decode(data)
    return value


def decimal(value: object) -> Decimal:
    """A number of an answer, which may be a number, a string or absent (then zero)."""
    if value is None or value == "":
        return Decimal(0)
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return Decimal(0)


def plain(value: Decimal) -> Decimal:
    """The same number without an exponent or needless zeros: ``1E+2`` → ``100``."""
    normal = value.normalize()
    _, _, exponent = normal.as_tuple()
    return normal.quantize(Decimal(1)) if isinstance(exponent, int) and exponent > 0 else normal


def quote(text: str) -> str:
    """A literal of the query language: quotes and backslashes escaped with a backslash."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def equals(name: str, value: str) -> str:
    return f"{name} = {quote(value)}"


def among(name: str, values: list[str]) -> str:
    return f"{name} IN ({', '.join(quote(value) for value in values)})"


BOTH_STATES = "Active IN (true, false)"
"""Name lists answer with active rows only unless asked for both."""


def select(
    entity: str, *conditions: str, order: str = "Id", start: int = 1, limit: int = 1000
) -> str:
    """One page of ``entity``. Ordered by a stable key, or rows slip between pages."""
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    page = f"ORDERBY {order} STARTPOSITION {start} MAXRESULTS {limit}"
    return f"SELECT * FROM {entity}{where} {page}"  # noqa: S608 - values went through quote()


def rows(body: JsonObject | None, entity: str) -> list[JsonObject]:
    """The rows of a query's answer; none for the empty object QuickBooks sends then."""
    found = ((body or {}).get("QueryResponse") or {}).get(entity) or []
    return [row for row in found if isinstance(row, dict)]


def parse(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """The answer in whatever format it came. Never raises."""
    body: JsonObject | None = None
    faults: tuple[Fault, ...] = ()
    excerpt = ""
    try:
        value = _decoder.decode(content) if content.strip() else None
        body = value if isinstance(value, dict) else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        body = None
    if body is not None:
        faults = _json_faults(body)
    else:
        excerpt = _excerpt(content)
        faults = _xml_faults(content)
    return Answer(status, headers.get("intuit_tid", ""), body, faults, excerpt, _seconds(headers))


def _json_faults(body: JsonObject) -> tuple[Fault, ...]:
    fault = body.get("Fault") or body.get("fault")
    if not isinstance(fault, dict):
        return ()
    kind = str(fault.get("type") or "")
    errors = fault.get("Error") or fault.get("error") or []
    if isinstance(errors, dict):
        errors = [errors]
    found = tuple(_fault(entry, kind) for entry in errors if isinstance(entry, dict))
    return found or (Fault(0, "no error was named", type=kind),)


def _fault(entry: JsonObject, kind: str) -> Fault:
    def read(*names: str) -> str:
        return next((str(entry[name]) for name in names if entry.get(name) is not None), "")

    message, detail = read("Message", "message"), read("Detail", "detail")
    code = read("code", "Code")
    return Fault(_code(code, f"{message} {detail}"), message, detail, read("element"), kind)


def _code(text: str, message: str) -> int:
    if text.strip().lstrip("-").isdecimal():
        return int(text)
    found = re.search(r"errorCode=0*(\d+)", message)
    return int(found[1]) if found else 0


def _xml_faults(content: bytes) -> tuple[Fault, ...]:
    """Faults of an ``IntuitResponse``. Entity declarations are refused before parsing."""
    if not content.lstrip().startswith(b"<") or b"<!" in content[:QBO_EXCERPT_CHARS]:
        return ()
    try:
        root = Xml.fromstring(content)  # noqa: S314 - no declarations, see above
    except Xml.ParseError:
        return ()
    found = []
    for fault in _named(root, "Fault"):
        for error in _named(fault, "Error"):
            values = {_local(child.tag): (child.text or "") for child in error}
            message, detail = values.get("Message", ""), values.get("Detail", "")
            code = _code(error.get("code", ""), f"{message} {detail}")
            found.append(
                Fault(code, message, detail, error.get("element", ""), fault.get("type", ""))
            )
    return tuple(found)


def _named(root: Xml.Element, name: str) -> list[Xml.Element]:
    return [node for node in root.iter() if _local(node.tag) == name]


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _excerpt(content: bytes) -> str:
    text = content[: 4 * QBO_EXCERPT_CHARS].decode("utf-8", "replace")
    text = re.sub(r"<[^>]*>", " ", text)
    return re.sub(r"\s+", " ", text).strip()[:QBO_EXCERPT_CHARS]


def _seconds(headers: Mapping[str, str]) -> int | None:
    text = headers.get("retry-after", "")
    return int(text) if text.isdecimal() else None


def as_json(value: Any) -> str:
    """A stored copy of an answer."""
    return _encoder.encode(value).decode()
