"""The kinds and their fields as Markdown, for docs/wire-protocol.md §2.4.

``python -m tests.sync.reference`` writes both generated parts of that page; tests compare them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import inspect as i

from replica.events import payloads as p
from replica.events.kinds import CATALOGUE
from replica.events.record import Origin
from replica.limits import SAFE_INTEGER_MAX
from replica.sync.table import render as render_table

# Texts that have a name on the page, by pattern and length.
NAMED = {
    (p.ID_PATTERN, 64): "id",
    (r"^[A-Za-z0-9._:-]*\Z", 64): "id or empty",
    (r"^[^\x00-\x1f\x7f]*\Z", 500): "name",
    (r"^[^\x00-\x1f\x7f]*\Z", 21): "number",
    (r"^[^\x00]*\Z", 4_000): "long text",
    (r"^[A-Z]{3}\Z", None): "currency",
    (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", None): "date",
    (r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?\Z", None): "date or empty",
    (r"^([0-9a-f]{64})?\Z", None): "hex hash or empty",
    (r"^[0-9a-f]{32}\Z", None): "hex device id",
    # Values of sealed documents: rules.py checks their characters together.
    (None, 64): "id",
    (None, 500): "name",
    (None, 21): "number",
    (None, 4_000): "long text",
    (None, 3): "currency",
    (None, 10): "date or empty",
}

PAGE = Path(__file__).parent.parent.parent / "docs" / "wire-protocol.md"


def kinds() -> str:
    """One row per kind: who may write it and the fields of its payload."""
    lines = ["| Kind | Version | From | Payload |", "|---|---|---|---|"]
    for kind in CATALOGUE.values():
        names = ", ".join(sorted(origin.name.lower() for origin in kind.origins))
        origins = "anybody" if kind.origins == frozenset(Origin) else names
        lines.append(f"| `{kind.name}` | {kind.version} | {origins} | {_fields(kind.struct)} |")
    return "\n".join(lines) + "\n"


def structs() -> str:
    """One paragraph per struct that payloads share, in the order of first use."""
    found: dict[str, i.StructType] = {}
    for kind in CATALOGUE.values():
        for struct in _nested(i.type_info(kind.struct)):
            found.setdefault(struct.cls.__name__, struct)
    parts = []
    for name, struct in found.items():
        shape = "array" if struct.array_like else "map"
        rows = "\n".join(f"- {line}" for line in _described(struct))
        parts.append(f"**{name}** ({shape})\n\n{rows}\n")
    return "\n".join(parts)


def _fields(struct: type[p.Payload]) -> str:
    info = i.type_info(struct)
    assert isinstance(info, i.StructType)
    return "; ".join(_described(info))


def _described(struct: i.StructType) -> Iterator[str]:
    for field in struct.fields:
        words = _words(field.type)
        if field.required and words == "date or empty":
            words = "date"  # no day of the calendar is empty
        yield f"`{field.encode_name}`{'' if field.required else '?'} {words}"


def _nested(info: i.Type) -> Iterator[i.StructType]:
    if isinstance(info, i.StructType):
        for field in info.fields:
            for struct in _parts(field.type):
                yield struct
                yield from _nested(struct)


def _parts(info: i.Type) -> Iterator[i.StructType]:
    if isinstance(info, i.StructType):
        yield info
    elif isinstance(info, i.UnionType):
        for one in info.types:
            yield from _parts(one)
    elif isinstance(info, (i.VarTupleType, i.ListType)):
        yield from _parts(info.item_type)


def _words(info: i.Type) -> str:
    if isinstance(info, i.UnionType):
        named = [one for one in info.types if not isinstance(one, (i.NoneType,))]
        shown = " or ".join(_words(one) for one in named)
        return shown + (" or nil" if len(named) < len(info.types) else "")
    if isinstance(info, i.StructType):
        return f"*{info.cls.__name__}*"
    if isinstance(info, i.StrType):
        return _text(info)
    if isinstance(info, i.IntType):
        return "integer" + _range(info)
    if isinstance(info, i.BytesType):
        return "bytes" + _length(info.min_length, info.max_length)
    if isinstance(info, i.BoolType):
        return "boolean"
    if isinstance(info, i.LiteralType):
        return " or ".join(f'"{value}"' for value in info.values)
    if isinstance(info, i.VarTupleType):
        length = _length(info.min_length, info.max_length)
        return f"array{length} of {_words(info.item_type)}"
    if isinstance(info, i.DictType):
        length = _length(info.min_length, info.max_length)
        return f"map{length} of {_words(info.key_type)} to {_words(info.value_type)}"
    raise AssertionError(f"no words for {info}")


def _text(info: i.StrType) -> str:
    named = NAMED.get((info.pattern, info.max_length))
    return named or "text" + _length(info.min_length, info.max_length)


def _range(info: i.IntType) -> str:
    low, high = info.ge, info.le
    if high == SAFE_INTEGER_MAX:
        return " ≥ 0" if low == 0 else ""
    return f" {low}..{high}" if low is not None else ""


def _length(low: int | None, high: int | None) -> str:
    if low is not None and low == high:
        return f" {low}"
    if high is None:
        return ""
    return f" {low}..{high}" if low else f" ≤ {high}"


GENERATED = {"table": render_table, "kinds": kinds, "structs": structs}


def part(text: str, name: str) -> tuple[int, int]:
    """Where the generated part ``name`` stands in the page."""
    begin = f"<!-- {name} -->\n"
    return text.index(begin) + len(begin), text.index(f"<!-- end of {name} -->")


def rewritten(text: str) -> str:
    """The page with all generated parts as the code makes them."""
    for name, make in GENERATED.items():
        start, end = part(text, name)
        text = text[:start] + "\n" + make() + "\n" + text[end:]
    return text


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
