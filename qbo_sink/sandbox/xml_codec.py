"""The XML face of the API: the same objects as in JSON, read and written by the same schema.

One rule each way. Names that begin with a small letter are attributes, all others elements; a
reference is an element whose text is the id. Reading takes nothing that could expand or reach
outside the request: a document type, and so every entity of its own, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from qbo_sink.sandbox.schema import STRUCTS
from qbo_sink.sandbox.values import Json

XML_TYPE = "application/xml;charset=UTF-8"
XML_TYPES = frozenset({"application/xml", "text/xml"})
DEPTH_MAX = 60
ATTRIBUTES_MAX = 20
_NAMESPACE = "http://schema.intuit.com/finance/v3"
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_TEXT_STRUCTS = frozenset({"ref", "memo"})
_REFERENCE = frozenset({"value", "name", "type", "id"})
# Elements whose children are objects of the API under their own names.
_HOLDERS = frozenset(
    {
        "IntuitResponse",
        "QueryResponse",
        "BatchItemRequest",
        "BatchItemResponse",
        "AttachableResponse",
        "RecurringTransaction",
    }
)
# Lists also where the schema is open and there is only one entry.
_ALWAYS_LISTS = frozenset({"BatchItemRequest", "CustomField", "NameValue", "TaxRateDetails"})
# Answers that have no ``time`` of their own are documents in their own right.
_ROOTS = {
    "Rows": "Report",
    "TaxRateDetails": "TaxService",
    "Entitlement": "EntitlementsResponse",
}


_UNSAYABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")


class NotXml(ValueError):
    """The text is not well-formed, is too deep, or declares a document type."""


# Writing ----------------------------------------------------------------------------------------


def write_xml(answer: Json) -> bytes:
    """An answer as the JSON routes make it, as an XML document."""
    root = next((name for key, name in _ROOTS.items() if key in answer), "IntuitResponse")
    return (_HEAD + _element(root, answer, "", f' xmlns="{_NAMESPACE}"')).encode()


def _element(name: str, value: Any, struct: str, extra: str = "") -> str:
    """``struct`` names the schema of ``value``: its properties are written in their order there,
    which strict readers insist on."""
    if not isinstance(value, dict):
        return f"<{name}{extra}>{_text(value)}</{name}>"
    is_text = "value" in value and value.keys() <= _REFERENCE and name != "ColData"
    inner = [_text(value["value"])] if is_text else []
    place = {known: index for index, known in enumerate(STRUCTS.get(struct, ()))}
    for key in sorted(value, key=lambda each: place.get(each, len(place))):
        each = value[key]
        if not _NAME.match(key):
            continue  # kept from a client as it came; XML has no way to say it
        if key[:1].islower() and not isinstance(each, dict | list):
            if each is not None and not (is_text and key == "value"):
                extra += f" {key}={quoteattr(_plain(each))}"
        else:
            inner += [_element(key, one, _struct_of(struct, key, name)) for one in _each(each)]
    return f"<{name}{extra}>{''.join(inner)}</{name}>" if inner else f"<{name}{extra}/>"


def _struct_of(struct: str, name: str, parent: str) -> str:
    """The schema of ``name`` within ``parent``, which is a ``struct``; empty where it is open."""
    known = STRUCTS.get(struct, {}).get(name)
    if known is not None:
        return known.type
    return name if parent in _HOLDERS and name in STRUCTS else ""


def _each(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, list) else () if value is None else (value,)


def _text(value: Any) -> str:
    return escape(_plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = format(value, "f") if isinstance(value, Decimal) else str(value)
    return _UNSAYABLE.sub("", text)


# Reading ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Node:
    name: str
    attributes: dict[str, str]
    children: list[_Node] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


def read_xml(data: bytes) -> Json:
    """``{name of the root: what the JSON body would hold}``. Raises :class:`NotXml`."""
    root = _parsed(data)
    return {root.name: _value(root, root.name if root.name in STRUCTS else "")}


def _parsed(data: bytes) -> _Node:
    parser = expat.ParserCreate(namespace_separator=" ")
    top = _Node("", {})
    path = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(path) > DEPTH_MAX or len(attributes) > ATTRIBUTES_MAX:
            raise NotXml("the document is nested too deeply")
        # What has a namespace of its own (xsi:nil, xsi:schemaLocation) is not about the object.
        local = {key: value for key, value in attributes.items() if " " not in key}
        node = _Node(name.rpartition(" ")[2], local)
        path[-1].children.append(node)
        path.append(node)

    def end(_: str) -> None:
        path.pop()

    def words(text: str) -> None:
        path[-1].text.append(text)

    def refuse(*_: object) -> None:
        raise NotXml("a document type is not accepted")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = words
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as problem:
        raise NotXml(str(problem)) from problem
    except (LookupError, UnicodeError) as problem:
        raise NotXml(f"unknown encoding: {problem}") from problem
    return top.children[0]


def _value(node: _Node, struct: str) -> Any:
    """``struct`` names the schema of ``node``, empty where the schema leaves it open."""
    text = "".join(node.text)
    is_reference = struct in _TEXT_STRUCTS or (not struct and node.name.endswith("Ref"))
    if not node.children and (is_reference or (node.attributes and text.strip())):
        return {**node.attributes, "value": text.strip()} if text.strip() else None
    if not node.children and not node.attributes and struct not in STRUCTS:
        is_open = struct in ("", "any")
        return text == "true" if is_open and text in ("true", "false") else text
    body: Json = dict(node.attributes)
    for child in node.children:
        value = _value(child, _struct_of(struct, child.name, node.name))
        if child.name in body:
            before = body[child.name]
            body[child.name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            body[child.name] = [value] if child.name in _ALWAYS_LISTS else value
    return body
