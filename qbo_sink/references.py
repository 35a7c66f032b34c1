"""References that QuickBooks does not take any more, found again: a correction (§2.6).

A customer or item that was deleted, merged or made inactive there may stand there under another id:
an active item of the same SKU or name, a customer of the same name whose e-mail, phone or post code
agree. Then the link moves, with an event that says so. Nothing else is ever put in its place.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from qbo_sink import answers
from qbo_sink.bodies import Bodies
from qbo_sink.ledger import Ledger
from qbo_sink.model import CHARGE, Entity, JsonObject, Key, Party, Product, Wanted, decode_wanted
from qbo_sink.party import (
    CUSTOMER_NAME_CHARS,
    ITEM_NAME_CHARS,
    evidence,
    matches_item,
    same_name,
    tidy_name,
)
from qbo_sink.plan import Intent
from qbo_sink.rows import Mapping
from qbo_sink.session import Session, Unanswered
from qbo_sink.wire import BOTH_STATES, among, as_json, equals

_IDS_AT_ONCE = 50


class References:
    """Finds again what the documents of one account refer to, during one run."""

    def __init__(self, session: Session, ledger: Ledger, bodies: Bodies) -> None:
        self._session = session
        self._ledger = ledger
        self._bodies = bodies

    async def renew(self, intent: Intent) -> int:
        """Move the links of what ``intent`` refers to and that is gone there; how many moved.

        Costs a metered read per kind of record, and one for each that is gone.
        """
        account = self._session.account
        needs, _ = await self._bodies.needs([intent])
        keys = [key for key in needs[intent.id] if key.local_type != CHARGE]
        links = await asyncio.to_thread(self._ledger.mappings, account, keys)
        contents = await asyncio.to_thread(self._ledger.wanted, account, keys)
        moved = 0
        for entity in (Entity.CUSTOMER, Entity.ITEM):
            of_kind = {key: link for key, link in links.items() if key.entity is entity}
            try:
                for key in await self._gone(entity, of_kind):
                    moved += await self._move(of_kind[key], decode_wanted(entity, contents[key]))
            except (Unanswered, KeyError):
                continue
        self._bodies.forget_names()
        return moved

    async def _gone(self, entity: Entity, links: dict[Key, Mapping]) -> list[Key]:
        """Which of these do not stand there as active records."""
        ids = [link.external_id for link in links.values()]
        active: set[str] = set()
        for at in range(0, len(ids), _IDS_AT_ONCE):
            condition = among("Id", ids[at : at + _IDS_AT_ONCE])
            async for page in self._session.pages(entity, condition, BOTH_STATES):
                active |= {str(row["Id"]) for row in page if row.get("Active", True)}
        return [key for key, link in links.items() if link.external_id not in active]

    async def _move(self, link: Mapping, wanted: Wanted) -> int:
        row = await self._found(wanted)
        if row is None or str(row["Id"]) == link.external_id:
            return 0
        moved = replace(
            link,
            external_id=str(row["Id"]),
            sync_token=str(row.get("SyncToken") or "0"),
            snapshot=as_json(row),
            drift="",
            agreed="",
            updated_ms=self._session.now_ms(),
        )
        said = [answers.done(link.key, row, "")]
        owner = await asyncio.to_thread(self._ledger.relink, self._session.account, moved, said)
        if owner:
            return 0
        self._bodies.learned(moved)
        return 1

    async def _found(self, wanted: Wanted) -> JsonObject | None:
        """The active record there that is certainly the same thing."""
        if isinstance(wanted, Product):
            name = tidy_name(wanted.name, ITEM_NAME_CHARS)
            conditions = [equals("Sku", wanted.sku)] if wanted.sku else []
            for condition in (*conditions, equals("Name", name)):
                async for page in self._session.pages(Entity.ITEM, condition):
                    for row in page:
                        if row.get("Type") != "Category" and matches_item(wanted, row):
                            return row
        elif isinstance(wanted, Party):
            name = tidy_name(wanted.name, CUSTOMER_NAME_CHARS)
            async for page in self._session.pages(Entity.CUSTOMER, equals("DisplayName", name)):
                for row in page:
                    if same_name(name, str(row.get("DisplayName"))) and evidence(wanted, row):
                        return row
        return None
