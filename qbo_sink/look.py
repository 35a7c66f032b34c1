"""Looking for what may stand there already: the only thing that tells in doubt.

By document number, then by customer and date, testing the signed marker of what is found; customers
by name and marker; items by SKU and name. A row that is not certainly ours is never taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qbo_sink import compare, marker
from qbo_sink.bodies import Bodies
from qbo_sink.client import entity_of
from qbo_sink.matches import Match, shown
from qbo_sink.model import (
    CHARGE,
    ERRANDS,
    SALES,
    Entity,
    JsonObject,
    Key,
    Op,
    Party,
    Product,
    decode_wanted,
    target_of,
)
from qbo_sink.party import (
    ITEM_NAME_CHARS,
    evidence,
    matches_item,
    same_name,
    same_sku,
    tidy_name,
)
from qbo_sink.plan import Intent
from qbo_sink.session import Session, Unanswered
from qbo_sink.twoway import LABELS, TWO_WAY, shows
from qbo_sink.wire import BOTH_STATES, Answer, among, decode_body, equals

_NAMES_AT_ONCE = 50
_NOT_FOUND = 610


@dataclass(frozen=True)
class LookFailed:
    """The look itself got no answer, so it says nothing."""

    reason: str


def holds(entity: Entity, row: JsonObject, body: JsonObject) -> bool:
    """Whether ``row`` shows what the update ``body`` says, field by field of ours."""
    return shows(entity, row, body) if entity in TWO_WAY else not compare.holds(row, body)


class Looker:
    """Looks for one account during one run."""

    def __init__(self, session: Session, bodies: Bodies) -> None:
        self._session = session
        self._bodies = bodies

    async def find(self, intent: Intent, *, clash: bool = False) -> JsonObject | LookFailed | None:
        """The entity that the intent's write made, if it did.

        ``clash`` says that QuickBooks refused the name: then a customer whose e-mail, phone or post
        code agree may be taken too.
        """
        try:
            if intent.key.entity in ERRANDS:
                return await self._errand(intent)
            if intent.op is not Op.CREATE:
                return await self._updated(intent)
            if intent.key.entity in SALES:
                return await self._sale(intent)
            if intent.key.entity is Entity.CUSTOMER:
                return await self._customer(intent, clash=clash)
            if intent.key.entity in LABELS:
                return await self._label(intent)
            return await self._item(intent, clash=clash)
        except Unanswered as error:
            return LookFailed(str(error))

    async def read(self, key: Key, external_id: str) -> JsonObject | LookFailed | None:
        """The entity itself, None when it is not there any more."""
        reply = await self._session.read(f"{key.entity.path}/{external_id}")
        row = entity_of(reply, key.entity)
        if row is not None:
            return None if row.get("status") == "Deleted" else row
        if isinstance(reply, Answer) and any(f.code == _NOT_FOUND for f in reply.faults):
            return None
        return LookFailed("the record could not be read")

    async def match_items(
        self, intents: list[Intent]
    ) -> tuple[list[tuple[Intent, JsonObject]], list[Match]]:
        """Items there for products that are about to be made: those of the same SKU, which they
        are, and those that share a name alone, which somebody has to say. The item of a charge is
        known by its name."""
        products = {
            intent.id: product
            for intent in intents
            if isinstance(product := decode_wanted(intent.key.entity, intent.content), Product)
        }
        skus = sorted({p.sku for p in products.values() if p.sku})
        names = sorted({tidy_name(p.name, ITEM_NAME_CHARS) for p in products.values() if p.name})
        found: list[JsonObject] = []
        try:
            for column, values in (("Sku", skus), ("Name", names)):
                for at in range(0, len(values), _NAMES_AT_ONCE):
                    condition = among(column, values[at : at + _NAMES_AT_ONCE])
                    async for page in self._session.pages("Item", condition):
                        found += page
        except Unanswered:
            return [], []  # creating meets the same name with 6240, and the next run looks again
        matched: list[tuple[Intent, JsonObject]] = []
        named: list[Match] = []
        used: set[str] = set()
        for intent in intents:
            wanted = products.get(intent.id)
            for row in found if wanted is not None else ():
                usable = row.get("Type") != "Category" and row["Id"] not in used
                if wanted is None or not usable or not matches_item(wanted, row):
                    continue
                if intent.key.local_type == CHARGE or same_sku(wanted, row):
                    matched.append((intent, row))
                    used.add(row["Id"])
                else:
                    there = (str(row["Id"]), str(row["Name"]), shown(Entity.ITEM, row))
                    named.append(Match(intent.key, *there))
                break
        return matched, named

    async def _errand(self, intent: Intent) -> JsonObject | None:
        """The document that something is done to, when it shows that it was."""
        is_closing = intent.key.entity is Entity.CLOSING
        target = target_of(intent.key)
        link = await self._bodies.mapping(target)
        row = None if link is None else await self.read(target, link.external_id)
        if isinstance(row, LookFailed):
            raise Unanswered(row.reason)
        if link is None or row is None:
            return None
        if is_closing and row.get("TxnStatus") not in compare.CLOSED:
            # The write that follows starts from what stands there now.
            await self._bodies.refresh(link, row)
            return None
        return row if is_closing or row.get("EmailStatus") == "EmailSent" else None

    async def _sale(self, intent: Intent) -> JsonObject | None:
        body, entity = decode_body(intent.body), intent.key.entity
        number = body.get("DocNumber")

        def ours(row: JsonObject) -> bool:
            if entity is Entity.INVOICE and compare.is_voided(row):
                return False  # another one is made in its place
            found = marker.find(self._bodies.marker_keys, row.get("PrivateNote"))
            return found == (intent.key.local_type, intent.key.local_id)

        if number:
            row = await self._first(entity, ours, equals("DocNumber", str(number)))
            if row is not None:
                return row
        # The number may have been edited, or not been taken at all.
        return await self._first(
            entity,
            ours,
            equals("CustomerRef", str(body["CustomerRef"]["value"])),
            equals("TxnDate", str(body["TxnDate"])),
        )

    async def _customer(self, intent: Intent, *, clash: bool) -> JsonObject | None:
        party = decode_wanted(intent.key.entity, intent.content)
        name = str(decode_body(intent.body)["DisplayName"])

        def ours(row: JsonObject) -> bool:
            found = marker.find(self._bodies.marker_keys, row.get("Notes"))
            if found is not None:
                return found == ("customer", intent.key.local_id)
            known = isinstance(party, Party) and evidence(party, row)
            named = same_name(name, str(row.get("DisplayName") or ""))
            apart = self._bodies.is_apart(intent.key, str(row["Id"]))
            return clash and named and known and not apart and bool(row.get("Active", True))

        return await self._first(Entity.CUSTOMER, ours, equals("DisplayName", name), BOTH_STATES)

    async def _item(self, intent: Intent, *, clash: bool) -> JsonObject | None:
        """The item that we made; one that the first call met is ours by its SKU alone, one of a
        corrected name by everything we said of it."""
        met = clash and intent.sends <= 1 and intent.key.local_type != CHARGE
        product = decode_wanted(intent.key.entity, intent.content)
        body = decode_body(intent.body)

        def ours(row: JsonObject) -> bool:
            apart = self._bodies.is_apart(intent.key, str(row["Id"]))
            if apart or not isinstance(product, Product) or (met and not same_sku(product, row)):
                return False
            return matches_item(product, row) or shows(Entity.ITEM, row, body)

        return await self._first(Entity.ITEM, ours, equals("Name", str(body["Name"])))

    async def _label(self, intent: Intent) -> JsonObject | None:
        """A class or department of the same name under the same parent is the same one (§2.6)."""
        body = decode_body(intent.body)
        parent = (body.get("ParentRef") or {}).get("value")

        def ours(row: JsonObject) -> bool:
            return (row.get("ParentRef") or {}).get("value") == parent

        name = equals("Name", str(body["Name"]))
        return await self._first(intent.key.entity, ours, name)

    async def _updated(self, intent: Intent) -> JsonObject | None:
        """The row when it already shows what the update says."""
        body = decode_body(intent.body)
        row = await self.read(intent.key, str(body["Id"]))
        if isinstance(row, LookFailed):
            raise Unanswered(row.reason)
        return row if row is not None and holds(intent.key.entity, row, body) else None

    async def _first(
        self, entity: Entity, ours: Callable[[JsonObject], bool], *conditions: str
    ) -> JsonObject | None:
        async for page in self._session.pages(entity, *conditions):
            for row in page:
                if ours(row):
                    return row
        return None
