"""Reading a request body against the schema: unknown names, types, lengths, enumerations.

Checks 9 and 10 of section 1.16. Everything found wrong is reported together; what remains is the
body in canonical form: absent, null and blank values gone, read-only ones ignored, numbers exact.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from qbo_sink.sandbox.faults import Problem
from qbo_sink.sandbox.schema import ENUMS, STRUCTS, Property
from qbo_sink.sandbox.values import Json, number, read_date

DEPTH_MAX = 12  # bundles hold lines, which hold bundles


class Reference(NamedTuple):
    """A reference found in a body: where, to which entity, to which id."""

    path: str
    entity: str
    id: str


class Shaped(NamedTuple):
    """``cleared`` holds the top-level properties that were sent as null or blank."""

    body: Json
    cleared: frozenset[str]
    references: tuple[Reference, ...]
    problems: tuple[Problem, ...]


def shape(entity: str, raw: Json, source: bytes) -> Shaped:
    """``raw`` against the schema of ``entity``; ``source`` is for line and column in messages."""
    reader = _Reader(source)
    body = reader.struct(raw, entity, "")
    blank = frozenset(name for name in raw if name in STRUCTS[entity] and name not in body)
    return Shaped(body, blank, tuple(reader.references), tuple(reader.problems))


class _Wrong(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def _is_blank(value: Any) -> bool:
    return value is None or value in ("", [], {})


class _Reader:
    def __init__(self, source: bytes) -> None:
        self.source = source
        self.references: list[Reference] = []
        self.problems: list[Problem] = []

    def struct(self, raw: Json, kind: str, path: str) -> Json:
        properties = STRUCTS[kind]
        body: Json = {}
        if path.count(".") > DEPTH_MAX:
            self.problems.append(Problem(2000, f"{path} is nested too deeply", path))
            return body
        for name, value in raw.items():
            known = properties.get(name)
            where = f"{path}.{name}" if path else name
            if known is None:
                self._unknown(name, where)
            elif not known.read_only and not _is_blank(value):
                read = self._value(known, value, where)
                if not _is_blank(read):
                    body[name] = read
        return body

    def _value(self, known: Property, value: Any, where: str) -> Any:
        if known.many:
            entries = value if isinstance(value, list) else [value]
            return [self._one(known, entry, f"{where}[{i}]") for i, entry in enumerate(entries)]
        return self._one(known, value, where)

    def _one(self, known: Property, value: Any, where: str) -> Any:
        scalar = _SCALARS.get(known.type)
        try:
            if scalar is not None:
                return scalar(value, known.arg)
            _object(value)
        except _Wrong as wrong:
            self.problems.append(Problem(wrong.code, f"{where}: {wrong.detail}", where))
            return None
        body = self.struct(value, known.type, where)
        if known.type == "ref":
            return self._reference(known, body, where)
        return body

    def _reference(self, known: Property, body: Json, where: str) -> Json | None:
        if "value" not in body:
            return None
        if known.arg:
            self.references.append(Reference(where, known.arg, body["value"]))
        return body

    def _unknown(self, name: str, where: str) -> None:
        mark = re.search(rb'["<]' + re.escape(name.encode()) + rb'[">\s/]', self.source)
        at = mark.start() if mark else -1
        line = self.source.count(b"\n", 0, at) + 1 if at >= 0 else 1
        column = at - self.source.rfind(b"\n", 0, at) if at >= 0 else 1
        detail = f"Property Name:{name} is unknown at {where}, line {line}, column {column}"
        self.problems.append(Problem(2010, detail, name))


def _object(value: Any) -> None:
    if not isinstance(value, dict):
        raise _Wrong(2110, "an object is expected")


def _text(value: Any, bound: str) -> str:
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, int | Decimal):
        value = str(value)
    if not isinstance(value, str):
        raise _Wrong(2110, "a string is expected")
    if bound and len(value) > int(bound):
        raise _Wrong(2050, f"min 0, max {bound}, supplied length {len(value)}")
    if any(ord(c) < 32 and c not in "\t\r\n" for c in value):
        raise _Wrong(2040, "control characters are not supported")
    return value


def _email(value: Any, bound: str) -> str:
    text = _text(value, bound)
    if "@" not in text or "." not in text:
        raise _Wrong(2210, f"{text!r} is not an e-mail address")
    return text


def _number(value: Any, _: str) -> Decimal:
    try:
        return number(value)
    except ValueError as problem:
        raise _Wrong(2090, str(problem)) from problem


def _integer(value: Any, _: str) -> int:
    exact = _number(value, "")
    if exact != exact.to_integral_value():
        raise _Wrong(2090, "a whole number is expected")
    return int(exact)


def _bool(value: Any, _: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _Wrong(2230, f"{value!r} is not true or false")


def _date(value: Any, _: str) -> str:
    try:
        return read_date(value)
    except ValueError as problem:
        raise _Wrong(2060, f"{value!r} is not a date, yyyy-mm-dd is expected") from problem


def _enum(value: Any, name: str) -> str:
    if not isinstance(value, str) or value not in ENUMS[name]:
        raise _Wrong(2170, f"{value!r} is not one of {', '.join(sorted(ENUMS[name]))}")
    return value


def _any(value: Any, _: str) -> Any:
    if _depth(value) > DEPTH_MAX:
        raise _Wrong(2000, "nested too deeply")
    return value


def _depth(value: Any) -> int:
    """Levels of objects and lists in ``value``, counted as far as it matters."""
    level, layer = 0, [value]
    while layer and level <= DEPTH_MAX:
        layer = [
            each
            for one in layer
            if isinstance(one, dict | list)
            for each in (one.values() if isinstance(one, dict) else one)
        ]
        level += bool(layer)
    return level


_SCALARS: dict[str, Callable[[Any, str], Any]] = {
    "text": _text,
    "email": _email,
    "number": _number,
    "int": _integer,
    "bool": _bool,
    "date": _date,
    "time": _text,
    "enum": _enum,
    "any": _any,
}
