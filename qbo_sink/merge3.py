"""Three-way merge, field by field. Pure.

A field that one side changed since both agreed goes to the other. One that both changed to other
values is a conflict: the newer value counts whichever side it comes from (requirements CON-01), and
on a tie what stands in QuickBooks (quickbooks.md §1.12); what was given up is kept to be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Fields = Mapping[str, Any]


class Overruled(NamedTuple):
    """A conflict: what both sides had agreed on, what each said, and whose value counts."""

    field: str
    base: Any
    ours: Any
    theirs: Any
    kept: str  # "ours" or "theirs"


class Merged(NamedTuple):
    """``take`` is what we take from them, ``send`` what they shall take from us."""

    take: dict[str, Any]
    send: dict[str, Any]
    overruled: tuple[Overruled, ...]


def merge(
    base_ours: Fields,
    base_theirs: Fields,
    ours: Fields,
    theirs: Fields,
    is_newer: Callable[[str], bool],
) -> Merged:
    """What to take and to send so that both sides say the same again.

    The base is what each side said when they agreed: they may say one thing in two ways (a name
    that had to be written otherwise there). ``is_newer`` says whether our value of a field is newer
    than theirs. A field that is missing somewhere is not merged.
    """
    take: dict[str, Any] = {}
    send: dict[str, Any] = {}
    overruled = []
    for name, their in theirs.items():
        if name not in ours or same(ours[name], their):
            continue
        we = not same(ours[name], base_ours.get(name, ours[name]))
        they = not same(their, base_theirs.get(name, their))
        if we and they:
            kept = "ours" if is_newer(name) else "theirs"
            overruled.append(Overruled(name, base_theirs.get(name), ours[name], their, kept))
            we, they = kept == "ours", kept == "theirs"
        if they:
            take[name] = their
        elif we:
            send[name] = ours[name]
    return Merged(take, send, tuple(overruled))


def same(left: Any, right: Any) -> bool:
    """Whether two values say the same: texts without outer blanks, parts of an address joined."""
    return bool(_plain(left) == _plain(right))


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, Mapping):
        return " ".join(" ".join(str(part).split()) for part in value.values() if part).casefold()
    return value
