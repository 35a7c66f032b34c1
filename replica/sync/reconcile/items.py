"""A sorted set of items with sums kept by block: what fingerprints are made from without a scan.

An item is a number and a 32-byte id, sorted by the number, then by the id. Blocks hold some
hundred items each, packed (40 bytes an item), with the sum of their ids beside them. An insertion
anywhere moves the bytes of one block; the running totals over the blocks are made again, once,
when somebody asks after a change. So the sum of any range costs two parts of blocks, whatever lies
between them, and a late item in the middle costs what one at the end does.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import accumulate, groupby
from struct import unpack_from
from typing import NamedTuple, Protocol

from replica.errors import MisuseError
from replica.limits import RECONCILE_BLOCK_ITEMS

ID_BYTES = 32
FINGERPRINT_BYTES = 16
INFINITE_TIME = 2**64 - 1
"""No item has it: it stands for the end of everything."""
_MODULUS = 1 << (8 * ID_BYTES)


class Item(NamedTuple):
    """``time`` is below ``INFINITE_TIME`` and its unit the caller's; ``id`` has 32 bytes."""

    time: int
    id: bytes


class Bound(NamedTuple):
    """Between items: below every item of ``time`` whose id is ``prefix`` with zeros, or greater.
    At most 32 bytes, without zeros at its end, so that equal bounds are equal here too."""

    time: int
    prefix: bytes


START = Bound(0, b"")
END = Bound(INFINITE_TIME, b"")


def bound_between(before: Item, after: Item) -> Bound:
    """The shortest bound that parts two items that follow one another."""
    if before.time != after.time:
        return Bound(after.time, b"")
    shared = next(
        n for n, (one, other) in enumerate(zip(before.id, after.id, strict=True)) if one != other
    )
    return Bound(after.time, after.id[: shared + 1])


class Items(Protocol):
    """What an exchange asks of a set. Indices are of the sorted order, from 0."""

    def __len__(self) -> int: ...

    def find(self, bound: Bound) -> int:
        """How many items lie below ``bound``."""
        ...

    def item(self, index: int) -> Item: ...

    def ids(self, first: int, last: int) -> list[bytes]:
        """Ids of the items from ``first`` to before ``last``."""
        ...

    def total(self, count: int) -> int:
        """Sum of the first ``count`` ids as little-endian numbers, not reduced."""
        ...


def fingerprint(items: Items, first: int, last: int) -> bytes:
    """16 bytes that name the set of ids from ``first`` to before ``last``."""
    before = items.total(first)  # asked for last, by whoever asked about the range before this one
    total = (items.total(last) - before) % _MODULUS
    named = total.to_bytes(ID_BYTES, "little") + encode_number(last - first)
    return sha256(named).digest()[:FINGERPRINT_BYTES]


def encode_number(value: int) -> bytes:
    """A varint: base 128, most significant digit first, the high bit on all but the last."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(0x80 | value & 0x7F)
    return bytes(reversed(digits))


class ItemSet:
    """The set, with insertion and removal. Asking for the same total twice in a row is free."""

    def __init__(self, items: Iterable[tuple[int, bytes]] = ()) -> None:
        self._blocks: list[_Block] = []
        self._firsts: list[Item] = []
        self._starts = [0]  # items before each block, and after the last
        self._totals = [0]  # sum of their ids
        self._renew_from: int | None = None  # the first block whose end is not where it was
        self._last_total = (0, 0)
        self.update(items)

    def __len__(self) -> int:
        return self._starts_now()[-1]

    def __iter__(self) -> Iterator[Item]:
        for block in self._blocks:
            yield from block

    def __contains__(self, item: tuple[int, bytes]) -> bool:
        at = self._block_of(item)
        return at >= 0 and self._blocks[at].holds(*item)

    def add(self, time: int, identity: bytes) -> bool:
        """Insert an item anywhere. False when it is there already.

        Raises ``MisuseError`` when it is none."""
        _check(time, identity)
        item = Item(time, identity)
        at = max(self._block_of(item), 0)
        if not self._blocks:
            self._blocks.append(_Block(array("Q"), bytearray(), 0))
            self._firsts.append(item)
        block = self._blocks[at]
        if not block.add(item):
            return False
        self._firsts[at] = block.item(0)
        if len(block.times) > 2 * RECONCILE_BLOCK_ITEMS:
            upper = block.divide()
            self._blocks.insert(at + 1, upper)
            self._firsts.insert(at + 1, upper.item(0))
        self._changed(at)
        return True

    def update(self, items: Iterable[tuple[int, bytes]]) -> None:
        """Insert many at once, block by block: what is there already stays as it is.

        Raises ``MisuseError`` when one of them is none; some may be inserted then.
        """
        ordered, done = sorted(items), 0
        while done < len(ordered):
            at = max(self._block_of(ordered[done]), 0)
            following = self._firsts[at + 1 : at + 2]
            end = bisect_left(ordered, following[0], done) if following else len(ordered)
            held = [item for block in self._blocks[at : at + 1] for item in block]
            merged = [one for one, _ in groupby(sorted([*held, *ordered[done:end]]))]
            blocks = [_Block.of(*zip(*part, strict=True)) for part in _cut(merged)]
            self._blocks[at : at + 1] = blocks
            self._firsts[at : at + 1] = [block.item(0) for block in blocks]
            self._changed(at)
            done = end

    def discard(self, time: int, identity: bytes) -> bool:
        """Take an item out. False when it is not there."""
        item = (time, identity)
        at = self._block_of(item)
        if at < 0 or not self._blocks[at].discard(*item):
            return False
        self._changed(at)
        if not self._blocks[at].times:
            del self._blocks[at], self._firsts[at]
            return True
        self._firsts[at] = self._blocks[at].item(0)
        self._join(at)
        return True

    def find(self, bound: Bound) -> int:
        at = bisect_left(self._firsts, bound) - 1
        if at < 0:
            return 0
        return self._starts_now()[at] + self._blocks[at].find(*bound)

    def item(self, index: int) -> Item:
        at, within = self._place(index)
        return self._blocks[at].item(within)

    def ids(self, first: int, last: int) -> list[bytes]:
        found: list[bytes] = []
        while first < last:
            at, within = self._place(first)
            part = self._blocks[at].some_ids(within, within + last - first)
            found.extend(part)
            first += len(part)
        return found

    def total(self, count: int) -> int:
        starts = self._starts_now()
        if count == self._last_total[0]:
            return self._last_total[1]
        at, within = self._place(count)
        total = self._totals[at]
        if within:
            block = self._blocks[at]
            if 2 * within <= starts[at + 1] - starts[at]:
                total += block.sum(0, within)
            else:
                total += block.total - block.sum(within, len(block.times))
        self._last_total = (count, total)
        return total

    def _starts_now(self) -> list[int]:
        if (at := self._renew_from) is not None:
            blocks = self._blocks[at:]
            counts = (len(block.times) for block in blocks)
            self._starts[at:] = accumulate(counts, initial=self._starts[at])
            self._totals[at:] = accumulate(
                (block.total for block in blocks), initial=self._totals[at]
            )
            self._renew_from, self._last_total = None, (0, 0)
        return self._starts

    def _changed(self, at: int) -> None:
        self._renew_from = at if self._renew_from is None else min(at, self._renew_from)

    def _place(self, index: int) -> tuple[int, int]:
        """Block and index within; the place after the last item is in a block past the end."""
        starts = self._starts_now()
        at = bisect_right(starts, index) - 1
        return at, index - starts[at]

    def _block_of(self, item: tuple[int, bytes]) -> int:
        return bisect_right(self._firsts, item) - 1

    def _join(self, at: int) -> None:
        """Blocks that removals left small become one, so that they stay few."""
        for lower in (at - 1, at):
            pair = self._blocks[max(lower, 0) : lower + 2]
            if len(pair) == 2 and sum(len(one.times) for one in pair) < RECONCILE_BLOCK_ITEMS:
                pair[0].extend(pair[1])
                del self._blocks[lower + 1], self._firsts[lower + 1]
                self._changed(lower)
                return


class _Block:
    """Some hundred items that follow one another, packed."""

    __slots__ = ("ids", "times", "total")

    def __init__(self, times: array[int], ids: bytearray, total: int) -> None:
        self.times = times
        self.ids = ids
        self.total = total

    @classmethod
    def of(cls, times: tuple[int, ...], ids: tuple[bytes, ...]) -> _Block:
        _check(times[0], min(ids, key=len))
        _check(times[-1], max(ids, key=len))
        block = cls(array("Q", times), bytearray().join(ids), 0)
        block.total = block.sum(0, len(times))
        return block

    def __iter__(self) -> Iterator[Item]:
        return map(Item, self.times, self.some_ids(0, len(self.times)))

    def item(self, index: int) -> Item:
        return Item(self.times[index], self.id(index))

    def id(self, index: int) -> bytes:
        return bytes(self.ids[ID_BYTES * index : ID_BYTES * (index + 1)])

    def some_ids(self, first: int, last: int) -> tuple[bytes, ...]:
        count = min(last, len(self.times)) - first
        return unpack_from("32s" * count, self.ids, ID_BYTES * first)

    def sum(self, first: int, last: int) -> int:
        return sum([int.from_bytes(one, "little") for one in self.some_ids(first, last)])

    def find(self, time: int, prefix: bytes) -> int:
        """How many items lie below (``time``, ``prefix``)."""
        low = bisect_left(self.times, time)
        high = bisect_right(self.times, time, low)
        while low < high:
            middle = (low + high) // 2
            if self.id(middle) < prefix:
                low = middle + 1
            else:
                high = middle
        return low

    def holds(self, time: int, identity: bytes) -> bool:
        at = self.find(time, identity)
        return at < len(self.times) and self.item(at) == (time, identity)

    def add(self, item: Item) -> bool:
        at = self.find(*item)
        if at < len(self.times) and self.item(at) == item:
            return False
        self.times.insert(at, item.time)
        self.ids[ID_BYTES * at : ID_BYTES * at] = item.id
        self.total += int.from_bytes(item.id, "little")
        return True

    def discard(self, time: int, identity: bytes) -> bool:
        if not self.holds(time, identity):
            return False
        at = self.find(time, identity)
        del self.times[at]
        del self.ids[ID_BYTES * at : ID_BYTES * (at + 1)]
        self.total -= int.from_bytes(identity, "little")
        return True

    def divide(self) -> _Block:
        """Keep the lower half; the upper one is a block of its own."""
        at = len(self.times) // 2
        upper = _Block(self.times[at:], self.ids[ID_BYTES * at :], 0)
        upper.total = upper.sum(0, len(upper.times))
        del self.times[at:], self.ids[ID_BYTES * at :]
        self.total -= upper.total
        return upper

    def extend(self, following: _Block) -> None:
        self.times += following.times
        self.ids += following.ids
        self.total += following.total


def _cut(items: list[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    for at in range(0, len(items), RECONCILE_BLOCK_ITEMS):
        yield items[at : at + RECONCILE_BLOCK_ITEMS]


def _check(time: int, identity: bytes) -> None:
    if not 0 <= time < INFINITE_TIME or len(identity) != ID_BYTES:
        raise MisuseError(f"an item has a time of 64 bits and an id of {ID_BYTES} bytes")
