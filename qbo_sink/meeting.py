"""Meeting what others made and changed there of records that both sides change.

A row that changed is merged field by field with ours (:mod:`qbo_sink.twoway`); a record that was
made there becomes one here, under an id made of its id there, so that it arrives once. Everything
reaches our own documents as events of the sink, written down with the new base in one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, select

from qbo_sink import marker, twoway
from qbo_sink.changes import parse_ms, updated_ms
from qbo_sink.feed import SYSTEM, to_label, to_party, to_product
from qbo_sink.followed import NOTHING, Became
from qbo_sink.ledger import Ledger
from qbo_sink.meeting_store import Arrival, MeetingStore
from qbo_sink.model import (
    Entity,
    JsonObject,
    Key,
    Label,
    Party,
    Product,
    Wanted,
    decode_wanted,
    encode_wanted,
)
from qbo_sink.party import clean, folded
from qbo_sink.rows import Answer
from qbo_sink.rows import Mapping as Link
from qbo_sink.session import Session
from qbo_sink.twoway import LABELS, Agreed
from qbo_sink.wire import as_json
from replica.events import payloads as p
from replica.events.kinds import encode_payload
from replica.projections import tables

TYPES = {
    Entity.CLASS: "class",
    Entity.DEPARTMENT: "department",
    Entity.CUSTOMER: "customer",
    Entity.ITEM: "product",
}
_CHANGED: dict[Entity, tuple[Callable[..., p.Payload], Callable[..., p.Payload], Any]] = {
    Entity.CLASS: (p.ClassCreated, p.ClassChanged, p.LabelFields),
    Entity.DEPARTMENT: (p.DepartmentCreated, p.DepartmentChanged, p.LabelFields),
    Entity.CUSTOMER: (p.CustomerCreated, p.CustomerChanged, p.CustomerFields),
    Entity.ITEM: (p.ProductCreated, p.ProductChanged, p.ProductFields),
}
_LINKED: dict[Entity, Callable[..., p.Payload]] = {
    Entity.CLASS: p.ClassLinked,
    Entity.DEPARTMENT: p.DepartmentLinked,
    Entity.CUSTOMER: p.CustomerLinked,
    Entity.ITEM: p.ProductLinked,
}
_GATES: dict[Entity, tuple[Callable[..., p.Payload], Callable[..., p.Payload]]] = {
    Entity.CLASS: (p.ClassDeleted, p.ClassRestored),
    Entity.DEPARTMENT: (p.DepartmentDeleted, p.DepartmentRestored),
}
_SOLD_TYPES = ("Service", "NonInventory", "Inventory")


class Meeting:
    """Meets rows of one account during one run."""

    def __init__(self, session: Session, ledger: Ledger, marker_keys: Sequence[bytes]) -> None:
        self._session = session
        self._ledger = ledger
        self._store = MeetingStore(ledger.engine)
        self._marker_keys = marker_keys

    async def meet(self, link: Link, row: JsonObject, drift: str, became: Became = NOTHING) -> None:
        """Take up ``row``, which is what ``link`` stands for there, in the state ``drift``."""
        now_ms = self._session.now_ms()
        account, key = self._session.account, link.key
        contents = await asyncio.to_thread(self._ledger.wanted, account, [key])
        if key not in contents:
            return
        wanted = decode_wanted(key.entity, contents[key])
        row = await self._with_parent(key.entity, row)
        merged = twoway.meet(wanted, link, twoway.there(key.entity, row), updated_ms(row))
        base = twoway.agreed_of(link) or Agreed(twoway.here(wanted))
        taken = {**base.taken, **dict.fromkeys(merged.take, now_ms)}
        # Until what is taken has arrived in our record, what that says now is nothing to be sent.
        ours = {**base.ours, **{name: twoway.here(wanted)[name] for name in merged.take}}
        met = replace(
            link,
            sync_token=str(row.get("SyncToken") or "0"),
            snapshot=as_json(row),
            drift=drift,
            agreed=Agreed(ours, taken).encode(),
            updated_ms=now_ms,
        )
        answers = told(key, merged.take)
        await asyncio.to_thread(self._store.met, account, met, answers, merged.overruled, became)

    async def arrivals(
        self, entity: Entity, rows: Iterable[JsonObject], names_here: Set[str]
    ) -> int:
        """Records that were made there and have no counterpart here; how many came.

        ``names_here`` are names of our own records (folded): one of the same name is not made a
        second time; sending ours meets theirs and links the two, or asks.
        """
        account = self._session.account
        waiting = await asyncio.to_thread(self._store.unlinked, account, entity)
        ours = {folded(_name(decode_wanted(entity, data))): key for key, data in waiting.items()}
        fresh = [row for row in rows if self.is_new(entity, row)]
        skus = await self._skus(entity) if fresh else set()
        came: list[Arrival] = []
        links: list[tuple[Link, list[Answer]]] = []
        for row in fresh:
            if folded(str(row.get("Sku") or "")) in skus:
                continue  # an item that took the place of one of ours
            row = await self._with_parent(entity, row)  # noqa: PLW2901 - the same row, completed
            name = folded(str(row.get("DisplayName") or row.get("Name") or ""))
            if entity in LABELS and name in ours:
                key = ours[name]
                parent = twoway.there(entity, row)["parent"]
                if twoway.here(decode_wanted(entity, waiting[key]))["parent"] == parent:
                    links.append((self._link(key, row), [_linked(key, str(row["Id"]))]))
            elif name not in ours and name not in names_here:
                came.append(self._arrival(entity, row))
        if links:
            await asyncio.to_thread(self._ledger.adopt, account, links)
        return await asyncio.to_thread(self._store.arrive, account, came) if came else 0

    async def merged(self, link: Link, survivor: str, row: JsonObject | None) -> None:
        """The name that ``link`` stands for became part of ``survivor`` there: the link moves.

        Where the survivor is another record of ours already, the link stays and documents go to
        the survivor (:meth:`MeetingStore.survivors`).
        """
        now_ms = self._session.now_ms()
        entity = link.key.entity
        await asyncio.to_thread(
            self._store.note_merge,
            self._session.realm,
            str(entity),
            link.external_id,
            survivor,
            now_ms,
        )
        owners = await asyncio.to_thread(
            self._ledger.mapped_by_id, self._session.realm, entity, [survivor]
        )
        title = str((row or {}).get("DisplayName") or (row or {}).get("Name") or survivor)
        became = Became(f"it is {title} now")
        moved = link
        answers: list[Answer] = []
        if survivor not in owners:
            moved = replace(link, external_id=survivor)
            answers = [_linked(link.key, survivor)]
            if row is not None:
                token = str(row.get("SyncToken") or "0")
                moved = replace(moved, sync_token=token, snapshot=as_json(row))
        moved = replace(moved, drift="merged", updated_ms=now_ms)
        await asyncio.to_thread(self._store.met, self._session.account, moved, answers, (), became)

    async def _skus(self, entity: Entity) -> set[str]:
        """The SKUs of our products, folded."""
        if entity is not Entity.ITEM:
            return set()
        contents = await asyncio.to_thread(self._store.contents, self._session.account, entity)
        products = (decode_wanted(entity, data) for data in contents.values())
        return {folded(one.sku) for one in products if isinstance(one, Product) and one.sku}

    def is_new(self, entity: Entity, row: JsonObject) -> bool:
        """Whether a row without a link is one that we want: active, sold, and not ours in doubt."""
        if row.get("status") == "Deleted" or not row.get("Active", True):
            return False
        if entity is Entity.ITEM and row.get("Type") not in _SOLD_TYPES:
            return False
        if entity is Entity.CUSTOMER and marker.find(self._marker_keys, row.get("Notes")):
            return False
        if entity in LABELS:
            return True
        created_ms = parse_ms(str((row.get("MetaData") or {}).get("CreateTime") or ""))
        return 0 < self._session.link.scanned_ms < created_ms

    def _arrival(self, entity: Entity, row: JsonObject) -> Arrival:
        external = str(row["Id"])
        key = Key(entity, TYPES[entity], f"qb:{external}")
        said = twoway.there(entity, row)
        fields = _fields(entity, {name: value for name, value in said.items() if name != "active"})
        if entity is Entity.CUSTOMER:
            currency = str((row.get("CurrencyRef") or {}).get("value") or "")
            known = {"status": "customer"} | ({"currency": currency} if currency else {})
            fields |= known
        created, _, struct = _CHANGED[entity]
        wanted = _wanted(entity, key.local_id, fields)
        link = replace(
            self._link(key, row), agreed=Agreed(twoway.here(wanted)).encode(), snapshot=as_json(row)
        )
        answers = (_answer(created(key.local_id, struct(**fields))), _linked(key, external))
        return Arrival(link, encode_wanted(wanted), answers)

    def _link(self, key: Key, row: JsonObject) -> Link:
        return Link(
            key=key,
            realm=self._session.realm,
            external_id=str(row["Id"]),
            sync_token=str(row.get("SyncToken") or "0"),
            snapshot=as_json(row),
            updated_ms=self._session.now_ms(),
        )

    async def _with_parent(self, entity: Entity, row: JsonObject) -> JsonObject:
        """A class or department whose parent is named by its id here too."""
        parent = str((row.get("ParentRef") or {}).get("value") or "")
        if entity not in LABELS or not parent:
            return row
        known = await asyncio.to_thread(
            self._ledger.mapped_by_id, self._session.realm, entity, [parent]
        )
        local = known[parent].key.local_id if parent in known else f"qb:{parent}"
        return {**row, "ParentRef": {**row["ParentRef"], "local": local}}


def names_here(views: Engine, account: bytes, entity: Entity, names: Sequence[str]) -> set[str]:
    """Which of ``names`` records here have already, linked or not; folded. Blocks."""
    table = {Entity.CUSTOMER: tables.customers, Entity.ITEM: tables.products}.get(entity)
    if table is None or not names:
        return set()
    query = select(table.c.name).where(table.c.account == account, table.c.name.in_(names))
    with views.connect() as connection:
        return {folded(name) for name in connection.scalars(query)}


def told(key: Key, take: Mapping[str, Any]) -> list[Answer]:
    """The events by which a record of ours says ``take``, in the fields of both sides."""
    said = dict(take)
    answers = []
    if key.entity in _GATES and "active" in said:
        deleted, restored = _GATES[key.entity]
        gate = restored if said.pop("active") else deleted
        answers.append(_answer(gate(key.local_id)))
    if said:
        _, changed, struct = _CHANGED[key.entity]
        answers.append(_answer(changed(key.local_id, struct(**_fields(key.entity, said)))))
    return answers


def _fields(entity: Entity, said: Mapping[str, Any]) -> dict[str, Any]:
    """Values as payload fields: what is empty there is unset here."""
    found: dict[str, Any] = {}
    for name, value in said.items():
        if isinstance(value, Mapping):
            parts = {part: _line(text) for part, text in value.items()}
            found[name] = p.Address(**parts) if any(parts.values()) else None
        elif isinstance(value, str):
            text = clean(value) if name == "description" else _line(value)
            found[name] = text or None
        else:
            found[name] = value
    return found


def _line(text: str) -> str:
    return clean(" ".join(text.split()))


def _wanted(entity: Entity, identity: str, fields: Mapping[str, Any]) -> Wanted:
    """What the feed will make of a record with these fields."""
    if entity is Entity.CUSTOMER:
        return to_party(identity, fields)
    if entity is Entity.ITEM:
        return to_product(identity, fields)
    return to_label(identity, fields, active=True)


def _name(wanted: Wanted) -> str:
    return wanted.name if isinstance(wanted, Party | Product | Label) else ""


def _linked(key: Key, external_id: str) -> Answer:
    return _answer(_LINKED[key.entity](key.local_id, SYSTEM, external_id))


def _answer(payload: p.Payload) -> Answer:
    kind, _, body = encode_payload(payload)
    return Answer(kind, body)
