"""Documents frozen: what a chunk says of them, and what is made from that (wire-protocol.md §12).

The facts of all documents lie in one table for each kind, its columns taken apart by
:mod:`replica.sync.columns`. A fact names its event by 32 bytes that no coding makes shorter; but an
event's id is the hash of the event, and most of an event is in the fact. So an id is left out when
it comes out right from the fact, the little that the chunk tells of its *writing*, and the id of
the event before it in its device's chain, which has to be in the same chunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from operator import itemgetter
from typing import Annotated, Any, Final, NamedTuple, Protocol, TypeVar

import msgspec
from msgspec import Meta

from replica.crdt.documents import DocKey, Document, Fact, encode_state, tag_event
from replica.errors import CorruptionError, Malformed
from replica.events.clock import STAMP_BYTES, Stamp, stamp_ms
from replica.events.event import (
    EVENT_FORMAT,
    GENESIS,
    HASH_BYTES,
    Event,
    array_header,
    encode_event,
    event_id,
)
from replica.limits import CHUNK_APART_BYTES_MAX, STAMP_MS_MAX
from replica.sync.columns import Column, Packer, Unpacker, encoded, numbers

T = TypeVar("T")
STAMP_MS_BYTES = 6
_MAP_MARKS = frozenset(bytes((mark,)) for mark in (*range(0x80, 0x90), 0xDE, 0xDF))


class Writing(NamedTuple):
    """What an event says besides its fact and the event before it."""

    device: bytes
    epoch: int
    seq: int
    version: int
    deps: tuple[bytes, ...]
    stamp: bytes  # the author's own


class Writings(Protocol):
    """How the events of one account were written, as far as that is known."""

    @property
    def account(self) -> bytes: ...

    def of(self, ids: Sequence[bytes]) -> Mapping[bytes, Writing]:
        """By id; those that are not known are missing."""
        ...


# How an id comes to whoever thaws.
TOLD: Final = 0
PLACED: Final = 1  # told, with its place: the next of its chain is computed
COMPUTED: Final = 2

_Chain = tuple[bytes, int]  # device and epoch
_Spot = tuple[int, int]  # number of the chain, seq
_Count = Annotated[int, Meta(ge=1)]
_Shape = tuple[tuple[str, _Count], ...]  # kinds, each with how many facts; none: left whole


class Table(msgspec.Struct, frozen=True, array_like=True):
    """The facts of one kind, in the order of their documents. Every field is a node."""

    stamps: Any
    origins: Any
    deps: Any
    bodies: Any
    how: Any  # each id comes
    told: Any  # ids that are not computed
    chains: Any  # numbers in ``Frozen.chains``, of the ids with a place
    seqs: Any
    versions: Any  # of the ids that are computed
    shifts_ms: Any  # the author's stamp less the merge stamp
    causes: Any  # deps of the event; nil where they are the fact's


class Frozen(msgspec.Struct, frozen=True, array_like=True):
    """Documents as a chunk says them. What is ``Any`` is a node."""

    count: int
    account: bytes
    chains: list[_Chain]
    ids: Any
    shapes: list[_Shape]
    which: Any  # of the shapes each document has
    whole: list[bytes]  # states of documents without a shape
    tables: list[Table]  # of the kinds in the order in which the shapes name them


_encode = msgspec.msgpack.Encoder().encode
_one_value = msgspec.msgpack.Decoder(msgspec.Raw).decode
_decode_deps = msgspec.msgpack.Decoder(list[tuple[bytes, ...]]).decode
_decode_causes = msgspec.msgpack.Decoder(list[tuple[bytes, ...] | None]).decode
_decode_bytes = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_texts = msgspec.msgpack.Decoder(list[str]).decode
_UNDECODABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)


def _kinds(shapes: Iterable[_Shape]) -> list[str]:
    return list(dict.fromkeys(kind for shape in shapes for kind, _ in shape))


# Freezing ----------------------------------------------------------------------------------------


class _Row(NamedTuple):
    """A fact with the id of its document."""

    owner: str
    kind: str
    fact: Fact


def freeze(
    section: str, documents: Sequence[tuple[str, bytes]], writings: Writings | None
) -> Frozen:
    """``documents`` are ids with states. Without ``writings`` all ids of events are told."""
    shapes: dict[_Shape, int] = {}
    which, whole = [], []
    rows: list[_Row] = []
    for identity, state in documents:
        facts = _facts(DocKey(section, identity), state)
        shape = tuple((kind, len(some)) for kind, some in facts.items())
        which.append(shapes.setdefault(shape, len(shapes)))
        if not shape:
            whole.append(state)
        rows.extend(_Row(identity, kind, fact) for kind, some in facts.items() for fact in some)
    known = _Known(rows, writings)
    tables: dict[str, list[_Row]] = {kind: [] for kind in _kinds(shapes)}
    for row in rows:
        tables[row.kind].append(row)
    packer = Packer()
    return Frozen(
        count=len(documents),
        account=writings.account if writings and known.chains else b"",
        chains=list(known.chains),
        ids=packer.pack(encoded(identity for identity, _ in documents)),
        shapes=list(shapes),
        which=packer.pack(encoded(which)),
        whole=whole,
        tables=[_table(packer, some, known) for some in tables.values()],
    )


def _facts(key: DocKey, state: bytes) -> dict[str, list[Fact]]:
    """None at all for a state that is left whole: a huge one, or not what documents are."""
    if len(state) > CHUNK_APART_BYTES_MAX:
        return {}
    try:
        document = Document.decode(key, state)
    except CorruptionError:
        return {}
    right = all(len(fact.tag) == STAMP_BYTES + HASH_BYTES for fact in document)
    return document.facts if right and document.encode() == state else {}


class _Known:
    """Which events of a chunk can be computed, and the places of these and of those before them."""

    def __init__(self, rows: Sequence[_Row], writings: Writings | None) -> None:
        self.chains: dict[_Chain, int] = {}
        self.spots: dict[bytes, _Spot] = {}  # by id
        self.computed: dict[bytes, Writing] = {}  # by id
        if writings is None:
            return
        found = writings.of([tag_event(row.fact.tag) for row in rows])
        ids = {(one.device, one.epoch, one.seq): identity for identity, one in found.items()}
        for row in rows:
            identity, stamp = tag_event(row.fact.tag), row.fact.tag[:STAMP_BYTES]
            one = found.get(identity)
            if one is None or one.stamp[STAMP_MS_BYTES:] != stamp[STAMP_MS_BYTES:]:
                continue
            before = ids.get((one.device, one.epoch, one.seq - 1))
            if before is None and one.seq > 1:
                continue
            if identity == _computed(
                writings.account, one, before or GENESIS, row.kind, row.fact.body
            ):
                self.computed[identity] = one
                self._place(identity, one)
                if before is not None:
                    self._place(before, found[before])

    def _place(self, identity: bytes, one: Writing) -> None:
        chain = self.chains.setdefault((one.device, one.epoch), len(self.chains))
        self.spots[identity] = chain, one.seq

    def how(self, identity: bytes) -> int:
        """An id comes to whoever thaws."""
        if identity in self.computed:
            return COMPUTED
        return PLACED if identity in self.spots else TOLD


def _table(packer: Packer, rows: Sequence[_Row], known: _Known) -> Table:
    packer.know(encoded(row.owner for row in rows))
    pack = packer.pack
    facts = [row.fact for row in rows]
    stamps = [fact.tag[:STAMP_BYTES] for fact in facts]
    ids = [tag_event(fact.tag) for fact in facts]
    spots = [known.spots[one] for one in ids if one in known.spots]
    computed = [
        (fact, stamp, one)
        for fact, stamp, identity in zip(facts, stamps, ids, strict=True)
        if (one := known.computed.get(identity))
    ]
    return Table(
        stamps=pack(encoded(stamps)),
        origins=pack(encoded(fact.origin for fact in facts)),
        deps=pack(encoded(fact.deps for fact in facts)),
        bodies=pack([_as_value(fact.body) for fact in facts]),
        how=pack(encoded(map(known.how, ids))),
        told=pack(encoded(one for one in ids if one not in known.computed)),
        chains=pack(encoded(chain for chain, _ in spots)),
        seqs=pack(encoded(seq for _, seq in spots)),
        versions=pack(encoded(one.version for _, _, one in computed)),
        shifts_ms=pack(
            encoded(
                stamp_ms(Stamp(one.stamp)) - stamp_ms(Stamp(stamp)) for _, stamp, one in computed
            )
        ),
        causes=pack(
            encoded(None if one.deps == fact.deps else one.deps for fact, _, one in computed)
        ),
    )


def _as_value(body: bytes) -> bytes:
    """A payload as a value: itself when it is one map, else in a bin."""
    try:
        return bytes(_one_value(body)) if body[:1] in _MAP_MARKS else _encode(body)
    except _UNDECODABLE:
        return _encode(body)


def _computed(account: bytes, one: Writing, before: bytes, kind: str, body: bytes) -> bytes:
    """The id of an event."""
    device, epoch, seq, version, deps, stamp = one
    said = (account, device, epoch, seq, before, stamp, kind, version, deps, body)
    return event_id(encode_event(Event(EVENT_FORMAT, *said)))


# Thawing -----------------------------------------------------------------------------------------


class _Facts(NamedTuple):
    """The facts of one kind by columns. Ids that are still to be computed are empty."""

    kind: str
    stamps: list[bytes]
    origins: list[int]
    deps: list[tuple[bytes, ...]]
    bodies: list[bytes]
    ids: list[bytes]

    def made(self) -> Iterator[Fact]:
        tags = map(bytes.__add__, self.stamps, self.ids)
        return map(Fact, tags, self.origins, self.bodies, self.deps)


_Owed = tuple[_Spot, _Facts, int, int, int, tuple[bytes, ...] | None]
"""An id that is to be computed: where it stands in which chain, its facts and the row among them;
version, shift in ms and cause."""


def thaw(section: str, frozen: Frozen) -> list[tuple[str, bytes]]:
    """Ids and states as they were frozen. Raises ``Malformed`` for anything else."""
    return _Thaw(frozen).documents(section)


class _Thaw:
    def __init__(self, frozen: Frozen) -> None:
        self._frozen = frozen
        self._unpacker = Unpacker()
        self._spots: dict[_Spot, bytes] = {}
        self._owed: list[_Owed] = []

    def documents(self, section: str) -> list[tuple[str, bytes]]:
        frozen, shapes, unpacker = self._frozen, self._frozen.shapes, self._unpacker
        ids = unpacker.unpack(frozen.ids, frozen.count)
        which = numbers(unpacker.unpack(frozen.which, frozen.count))
        often = Counter(which)
        if not often.keys() <= set(range(len(shapes))):
            raise Malformed("documents of no shape that is told")
        if sum(often[at] for at, shape in enumerate(shapes) if not shape) != len(frozen.whole):
            raise Malformed("other documents left whole than are told")
        rows: Counter[str] = Counter()
        for at, shape in enumerate(shapes):
            for kind, count in shape:
                rows[kind] += often[at] * count
        unpacker.take(rows.total())
        owners: dict[str, Column] = {kind: [] for kind in rows}
        for identity, at in zip(ids, which, strict=True):
            for kind, count in shapes[at]:
                owners[kind].extend(repeat(identity, count))
        if len(owners) != len(frozen.tables):
            raise Malformed("other tables than the shapes have kinds")
        tables = [
            self._table(kind, column, table)
            for (kind, column), table in zip(owners.items(), frozen.tables, strict=True)
        ]
        self._compute()
        facts = {one.kind: one.made() for one in tables}
        whole = iter(frozen.whole)
        made = []
        for name, at in zip(_all(_decode_texts, ids), which, strict=True):
            taken = {kind: list(islice(facts[kind], count)) for kind, count in shapes[at]}
            made.append((name, encode_state(taken) if taken else next(whole)))
        return made

    def _table(self, kind: str, owners: Column, table: Table) -> _Facts:
        """The facts; what is not told of their ids is owed."""
        self._unpacker.know(owners)
        unpack, count = self._unpacker.unpack, len(owners)
        stamps = _sized(unpack(table.stamps, count), STAMP_BYTES)
        origins = numbers(unpack(table.origins, count))
        deps = _all(_decode_deps, unpack(table.deps, count))
        bodies = list(map(_body, unpack(table.bodies, count)))
        how = numbers(unpack(table.how, count))
        told = iter(_sized(unpack(table.told, len(how) - how.count(COMPUTED)), HASH_BYTES))
        ids = [b"" if one == COMPUTED else next(told) for one in how]
        facts = _Facts(kind, stamps, origins, deps, bodies, ids)
        placed = [row for row, one in enumerate(how) if one != TOLD]
        chains = numbers(unpack(table.chains, len(placed)))
        seqs = numbers(unpack(table.seqs, len(placed)))
        spots = dict(zip(placed, zip(chains, seqs, strict=True), strict=True))
        self._spots.update((spot, ids[row]) for row, spot in spots.items() if ids[row])
        computed = [row for row in placed if not ids[row]]
        versions = numbers(unpack(table.versions, len(computed)))
        shifts_ms = numbers(unpack(table.shifts_ms, len(computed)))
        causes = _all(_decode_causes, unpack(table.causes, len(computed)))
        owed = map(spots.__getitem__, computed)
        self._owed.extend(zip(owed, repeat(facts), computed, versions, shifts_ms, causes))
        return facts

    def _compute(self) -> None:
        """Fill in the ids that are owed, each after the one before it."""
        account, chains, spots = self._frozen.account, self._frozen.chains, self._spots
        for spot, facts, row, version, shift_ms, cause in sorted(self._owed, key=_spot_of):
            chain, seq = spot
            before = GENESIS if seq == 1 else spots.get((chain, seq - 1))
            if before is None or not 0 <= chain < len(chains):
                raise Malformed("an id that cannot be computed")
            device, epoch = chains[chain]
            deps = facts.deps[row] if cause is None else cause
            stamp = facts.stamps[row]
            if shift_ms:
                stamp = _shifted(stamp, shift_ms)
            one = Writing(device, epoch, seq, version, deps, stamp)
            identity = _computed(account, one, before, facts.kind, facts.bodies[row])
            spots[spot] = facts.ids[row] = identity


_spot_of = itemgetter(0)


def _shifted(stamp: bytes, shift_ms: int) -> bytes:
    ms = _ms(stamp) + shift_ms
    if not 0 <= ms <= STAMP_MS_MAX:
        raise Malformed("a stamp beyond all clocks")
    return ms.to_bytes(STAMP_MS_BYTES, "big") + stamp[STAMP_MS_BYTES:]


def _ms(stamp: bytes) -> int:
    return stamp_ms(Stamp(stamp))


def _all(decode: Callable[[bytes], list[T]], column: Column) -> list[T]:
    """A column of values of one type."""
    try:
        return decode(array_header(len(column)) + b"".join(column))
    except _UNDECODABLE as error:
        raise Malformed(f"a column of something else: {error}") from error


def _sized(column: Column, size: int) -> list[bytes]:
    found = _all(_decode_bytes, column)
    if any(len(one) != size for one in found):
        raise Malformed(f"not {size} bytes")
    return found


def _body(value: bytes) -> bytes:
    """See :func:`_as_value`."""
    return value if value[:1] in _MAP_MARKS else _all(_decode_bytes, [value])[0]
