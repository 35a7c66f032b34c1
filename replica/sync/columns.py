"""Values by columns: many MessagePack values of few shapes in few bytes (wire-protocol.md §12.3).

Values that follow each other in a chunk are much alike: maps of the same keys, lists of arrays of
the same length. Here they are taken apart into *columns*, one for each place in a value, and each
column is written in whichever way deflates best. What does not vary is written once.

Only the structure is taken apart; what is left are encoded values as they were, so that putting the
pieces together gives the same bytes again, whatever they mean. Pure: values in, a node out, and
back.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice, repeat
from operator import itemgetter
from typing import Any, Final

import msgspec

from replica.errors import Malformed
from replica.events.event import array_header
from replica.limits import CHUNK_RAW_BYTES_MAX, SAFE_INTEGER_MAX

# A node is an array that begins with how its column is written.
SAME: Final = 0  # value: that of all rows
PLAIN: Final = 1  # values, one after the other
PLANES: Final = 2  # width, bytes: the first bytes of all values, their second bytes, …
NUMBERS: Final = 3  # least, width, planes of how much each integer is above the least
CHOICE: Final = 4  # count, that many values, planes of which of them each row has
AGAIN: Final = 5  # number of an earlier column: this one is the same
RECORDS: Final = 6  # shapes, node of which of them each row has, nodes of the places
LISTS: Final = 7  # node of the counts, node of all elements

DEPTH_MAX: Final = 8
VALUE_BYTES: Final = 16
"""What a value in memory counts for besides its bytes, against ``CHUNK_RAW_BYTES_MAX``."""
_SHAPES_MAX = 256
_PLACES_MAX = 256
_TUPLE_MAX = 15  # longer arrays are lists
_CHOICES_MAX = 1 << 16
_NUMBER_BYTES_MAX = 6
_TRIAL_LEVEL = 1  # deflated only to be compared

Node = list[Any]
Column = list[bytes]
Place = str | int | None
Shape = tuple[str, ...] | int | None
"""The keys of a map, the length of an array, or None for a value that is left whole. Its places are
the keys, the numbers below the length, or None."""

_ARRAYS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))
_MAPS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
_CONTAINERS = _ARRAYS | _MAPS
_INTEGERS = frozenset((*range(0x80), *range(0xCC, 0xD4), *range(0xE0, 0x100)))

_encode = msgspec.msgpack.Encoder().encode
_decode_maps = msgspec.msgpack.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_lists = msgspec.msgpack.Decoder(list[list[msgspec.Raw]]).decode
_decode_list = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode_numbers = msgspec.msgpack.Decoder(list[int]).decode
_mark = itemgetter(0)
_UNDECODABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)


def encoded(values: Iterable[Any]) -> Column:
    """Each of ``values`` in MessagePack."""
    return list(map(_encode, values))


def numbers(column: Column) -> list[int]:
    """What a column of integers says. Raises ``Malformed``."""
    try:
        return _decode_numbers(array_header(len(column)) + b"".join(column))
    except _UNDECODABLE as error:
        raise Malformed(f"not a column of integers: {error}") from error


def _split(data: bytes, count: int) -> Column:
    """The ``count`` values that stand one after the other in ``data``."""
    if count > len(data):
        raise Malformed("fewer values than were promised")
    try:
        return list(map(bytes, _decode_list(array_header(count) + data)))
    except _UNDECODABLE as error:
        raise Malformed(f"not {count} values: {error}") from error


def _pieces(shape: Shape) -> tuple[bytes, tuple[tuple[Place, bytes], ...]]:
    """How a value of ``shape`` begins, and its places, each with what stands before it."""
    if shape is None:
        return b"", ((None, b""),)
    if isinstance(shape, int):
        return array_header(shape), tuple((place, b"") for place in range(shape))
    few = len(shape) < 16
    header = bytes((0x80 | len(shape),)) if few else b"\xde" + len(shape).to_bytes(2, "big")
    return header, tuple((key, _encode(key)) for key in shape)


# Taking apart ------------------------------------------------------------------------------------


class Packer:
    """Takes columns apart. Later ones may repeat earlier ones, so they are put together again in
    the same order."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}
        self._count = 0

    def know(self, column: Column) -> None:
        """Whoever puts together has ``column`` too, without being told."""
        self._seen.setdefault(b"".join(column), self._count)
        self._count += 1

    def pack(self, values: Column, depth: int = 0) -> Node:
        """The node of ``values``, each exactly one MessagePack value."""
        if not values or all(map(values[0].__eq__, values)):
            return [SAME, values[0] if values else b""]
        marks = set(map(_mark, values)) if depth < DEPTH_MAX else set()
        if marks and marks <= _ARRAYS and (lists := _lists(values)) is not None:
            counts, elements = lists
            return [LISTS, self.pack(counts, depth + 1), self.pack(elements, depth + 1)]
        if marks & _CONTAINERS and (records := _records(values, marks)) is not None:
            shapes, which, columns = records
            told = [list(shape) if isinstance(shape, tuple) else shape for shape in shapes]
            order = self.pack(encoded(which), depth + 1)
            return [RECORDS, told, order, [self.pack(one, depth + 1) for one in columns]]
        joined = b"".join(values)
        if (number := self._seen.get(joined)) is not None:
            return [AGAIN, number]
        self.know(values)
        return min(_ways(values, joined), key=_cost)


def _lists(values: Column) -> tuple[Column, Column] | None:
    """Counts and elements of arrays, some of them long or of more than scalars; None for others."""
    try:
        rows = _decode_lists(array_header(len(values)) + b"".join(values))
    except _UNDECODABLE:
        return None
    lengths = list(map(len, rows))
    elements = list(map(bytes, chain.from_iterable(rows)))
    if max(lengths) <= _TUPLE_MAX and _CONTAINERS.isdisjoint(map(_mark, elements)):
        return None
    if not _all_of(values, [elements], Counter(lengths)):
        return None
    return encoded(lengths), elements


_Records = tuple[list[Shape], list[int], list[Column]]


def _records(values: Column, marks: set[int]) -> _Records | None:
    """The shapes, which of them each value has, and a column for each place of any of them; None
    when the values have too little in common."""
    if (alike := _alike(values, marks)) is not None:
        return alike
    taken = list(map(_taken_apart, values))
    number = {shape: at for at, shape in enumerate(dict.fromkeys(shape for shape, _ in taken))}
    places = {shape: [place for place, _ in _pieces(shape)[1]] for shape in number}
    columns: dict[Place, Column] = {place: [] for some in places.values() for place in some}
    if number.keys() == {None} or not _few(len(number), len(columns), len(values)):
        return None
    for shape, parts in taken:
        for place, part in zip(places[shape], parts, strict=True):
            columns[place].append(part)
    return list(number), [number[shape] for shape, _ in taken], list(columns.values())


def _few(shapes: int, places: int, rows: int) -> bool:
    """Whether so many shapes and places are worth it: each costs some bytes and some time."""
    return shapes <= min(_SHAPES_MAX, 1 + rows // 4) and places <= min(_PLACES_MAX, 16 + rows // 4)


def _alike(values: Column, marks: set[int]) -> _Records | None:
    """Values of one shape, all at once; None when they are not."""
    data = array_header(len(values)) + b"".join(values)
    shape: Shape
    try:
        if marks <= _MAPS:
            maps = _decode_maps(data)
            shape = tuple(maps[0])
            if not all(map(shape.__eq__, map(tuple, maps))):
                return None
            parts = zip(*map(dict.values, maps), strict=True)
        elif marks <= _ARRAYS:
            rows = _decode_lists(data)
            shape = len(rows[0])
            if shape > _TUPLE_MAX or set(map(len, rows)) != {shape}:
                return None
            parts = zip(*rows, strict=True)
        else:
            return None
    except _UNDECODABLE:
        return None
    columns = [list(map(bytes, one)) for one in parts]
    if len(columns) > _PLACES_MAX or not _all_of(values, columns, {shape: len(values)}):
        return None
    return [shape], [0] * len(values), columns


def _taken_apart(value: bytes) -> tuple[Shape, Column]:
    """The shape of a value with its parts; None and itself unless these are all of it."""
    mark = value[0]
    if mark in _CONTAINERS and (one := _alike([value], {mark})) is not None:
        return one[0][0], [part for (part,) in one[2]]
    return None, [value]


def _all_of(values: Column, columns: list[Column], shapes: Mapping[Shape, int]) -> bool:
    """Whether the parts in ``columns``, with what stands around them, are all there is to values of
    so many of each shape. Long headers, and keys that come twice, only ever make a value longer."""
    around = sum(often * _bytes_around(shape) for shape, often in shapes.items())
    return around + sum(sum(map(len, one)) for one in columns) == sum(map(len, values))


def _bytes_around(shape: Shape) -> int:
    """What a value of ``shape`` has besides its parts."""
    if isinstance(shape, int):
        return len(array_header(shape))
    header, places = _pieces(shape)
    return len(header) + sum(len(key) for _, key in places)


def _ways(values: Column, joined: bytes) -> Iterator[Node]:
    """Every way to write a column of leaves."""
    yield [PLAIN, joined]
    count, width = len(values), len(values[0])
    if width > 1 and set(map(len, values)) == {width}:
        yield [PLANES, width, _planes(joined, width)]
    if values[0][0] in _INTEGERS and (node := _as_numbers(values, joined)) is not None:
        yield node
    choices = dict.fromkeys(values, 0)
    if len(choices) <= min(count // 2, _CHOICES_MAX):
        choices = {value: number for number, value in enumerate(choices)}
        which = struct.pack(f">{count}H", *map(choices.__getitem__, values))
        planes = which[1::2] if len(choices) <= 1 << 8 else _planes(which, 2)
        yield [CHOICE, len(choices), b"".join(choices), planes]


def _as_numbers(values: Column, joined: bytes) -> Node | None:
    try:
        found = numbers(values)
    except Malformed:
        return None
    least, most = min(found), max(found)
    width = max(1, ((most - least).bit_length() + 7) // 8)
    safe = max(-least, most) <= SAFE_INTEGER_MAX and width <= _NUMBER_BYTES_MAX
    if not safe or _encode(found) != array_header(len(values)) + joined:
        return None
    data = struct.pack(f">{len(found)}Q", *(value - least for value in found))
    return [NUMBERS, least, width, b"".join(data[at::8] for at in range(8 - width, 8))]


def _planes(data: bytes, width: int) -> bytes:
    return b"".join(data[at::width] for at in range(width))


def _cost(node: Node) -> int:
    return len(zlib.compress(_encode(node), _TRIAL_LEVEL))


# Putting together --------------------------------------------------------------------------------


class Unpacker:
    """Puts columns together, in the order in which they were taken apart.

    Memory stays within a few times ``CHUNK_RAW_BYTES_MAX`` whatever the nodes say: every value that
    is made counts, with its bytes and ``VALUE_BYTES``, before it is made.
    """

    def __init__(self) -> None:
        self._seen: list[Column] = []
        self._room = CHUNK_RAW_BYTES_MAX

    def know(self, column: Column) -> None:
        """See :meth:`Packer.know`."""
        self._seen.append(column)

    def unpack(self, node: object, count: int, depth: int = 0) -> Column:
        """The ``count`` values of ``node``. Raises ``Malformed`` for anything that is no node of so
        many values."""
        self.take(count)
        if depth > DEPTH_MAX:
            raise Malformed("columns within columns without end")
        match node:
            case [0, bytes(value)]:
                self.take(0, count * len(value))
                return [value] * count
            case [5, int(number)] if 0 <= number < len(self._seen):
                column = self._seen[number]
                if len(column) != count:
                    raise Malformed("a column of another length again")
            case [6, list(shapes), which, list(nodes)] if len(shapes) <= _SHAPES_MAX:
                return self._records(list(map(_shape, shapes)), which, nodes, count, depth + 1)
            case [7, counts, elements]:
                return self._lists(counts, elements, count, depth + 1)
            case _:
                column = self._leaves(node, count)
                self.know(column)
        self.take(0, sum(map(len, column)))
        return column

    def _leaves(self, node: object, count: int) -> Column:
        match node:
            case [1, bytes(data)]:
                return _split(data, count)
            case [2, int(width), bytes(data)] if width > 0 and len(data) == width * count:
                joined = bytes(_woven(data, width, count, bytearray(len(data))))
                return [joined[at : at + width] for at in range(0, len(joined), width)]
            case [3, int(least), int(width), bytes(data)] if (
                abs(least) <= SAFE_INTEGER_MAX
                and 0 < width <= _NUMBER_BYTES_MAX
                and len(data) == width * count
            ):
                woven = _woven(data, width, count, bytearray(8 * count))
                found = [least + above for above in struct.unpack(f">{count}Q", woven)]
                if max(found, default=0) > SAFE_INTEGER_MAX:
                    raise Malformed("an integer that is too large")
                return _split(_encode(found)[len(array_header(count)) :], count)
            case [4, int(many), bytes(values), bytes(which)] if 0 < many <= _CHOICES_MAX:
                choices = _split(values, many)
                width = 1 if many <= 1 << 8 else 2
                if len(which) == width * count:
                    woven = _woven(which, width, count, bytearray(2 * count))
                    chosen = struct.unpack(f">{count}H", woven)
                    if max(chosen, default=0) < many:
                        return [choices[number] for number in chosen]
        raise Malformed(f"not a column of {count} values")

    def _records(
        self, shapes: list[Shape], which: object, nodes: list[object], count: int, depth: int
    ) -> Column:
        chosen = numbers(self.unpack(which, count, depth))
        often = Counter(chosen)
        if not often.keys() <= set(range(len(shapes))):
            raise Malformed("a value of no shape that is told")
        pieces = list(map(_pieces, shapes))
        rows: dict[Place, int] = {}
        for number, (header, places) in enumerate(pieces):
            self.take(0, often[number] * (len(header) + sum(len(key) for _, key in places)))
            for place, _ in places:
                rows[place] = rows.get(place, 0) + often[number]
        if len(rows) != len(nodes):
            raise Malformed("other columns than the shapes have")
        columns = {
            place: iter(self.unpack(node, times, depth))
            for (place, times), node in zip(rows.items(), nodes, strict=True)
        }
        if len(shapes) == 1:
            header, places = pieces[0]
            parts = [part for place, key in places for part in (repeat(key), columns[place])]
            return list(map(b"".join, zip(repeat(header, count), *parts, strict=False)))
        plans = [
            (header, [(key, columns[place]) for place, key in places]) for header, places in pieces
        ]
        return [
            header + b"".join([key + next(column) for key, column in places])
            for header, places in map(plans.__getitem__, chosen)
        ]

    def _lists(self, counts: object, elements: object, count: int, depth: int) -> Column:
        lengths = numbers(self.unpack(counts, count, depth))
        if lengths and min(lengths) < 0:
            raise Malformed("a list of less than nothing")
        column = iter(self.unpack(elements, sum(lengths), depth))
        return [array_header(one) + b"".join(islice(column, one)) for one in lengths]

    def take(self, count: int, size: int = 0) -> None:
        """Count values of ``size`` bytes together. Raises ``Malformed`` above the bound."""
        self._room -= count * VALUE_BYTES + size
        if self._room < 0:
            raise Malformed("more than a chunk may hold")


def _woven(planes: bytes, width: int, count: int, into: bytearray) -> bytearray:
    """``into`` with ``planes`` as the last ``width`` bytes of each of its ``count`` items."""
    step = len(into) // count if count else width
    for at in range(width):
        into[step - width + at :: step] = planes[at * count : (at + 1) * count]
    return into


def _shape(told: object) -> Shape:
    match told:
        case None:
            return None
        case int(length) if 0 <= length <= _TUPLE_MAX:
            return length
        case [*keys] if len(keys) <= _PLACES_MAX:
            texts = tuple(key for key in keys if isinstance(key, str))
            if len(texts) == len(keys):
                return texts
    raise Malformed("not a shape")
