"""From an intent to the body of its call: what it refers to, looked up in the ledger.

What is not mapped yet is a need, and the row waits (:mod:`qbo_sink.plan`); nothing is guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qbo_sink import faults, marker
from qbo_sink.estimate import Refs, check, item_keys, to_estimate
from qbo_sink.faults import Refused
from qbo_sink.feed import charge_item
from qbo_sink.ledger import Ledger
from qbo_sink.model import (
    CHARGE,
    CHARGES,
    Entity,
    JsonObject,
    Key,
    Op,
    Party,
    Product,
    Sale,
    charge_product,
    decode_wanted,
)
from qbo_sink.party import customer_fields, folded, to_customer, to_item
from qbo_sink.plan import Intent
from qbo_sink.rows import Mapping
from qbo_sink.session import Session, Unanswered
from qbo_sink.wire import equals, select

_INCOME_KINDS = ("SalesOfProductIncome", "ServiceFeeIncome")


class Bodies:
    """Bodies for one account during one run; remembers what it looked up."""

    def __init__(self, session: Session, ledger: Ledger, marker_keys: Sequence[bytes]) -> None:
        self._session = session
        self._ledger = ledger
        self.marker_keys = list(marker_keys)
        self._mapped: dict[Key, Mapping] = {}
        self._needs: dict[tuple[int, str], list[Key]] = {}
        self._income_account = session.settings.income_account
        self._names: dict[str, dict[str, str]] = {}

    async def needs(self, intents: Sequence[Intent]) -> tuple[dict[int, list[Key]], set[Key]]:
        """What each estimate needs to stand there first, and which of that does."""
        found = {intent.id: self._needs_of(intent) for intent in intents}
        asked = {key for keys in found.values() for key in keys}
        unknown = [key for key in asked if key not in self._mapped]
        if unknown:
            self._mapped |= await asyncio.to_thread(
                self._ledger.mappings, self._session.account, unknown
            )
        charges = [key for key in asked if key.local_type == CHARGE and key not in self._mapped]
        if charges:
            items = [charge_item(charge_product(CHARGES[key.local_id])) for key in charges]
            await asyncio.to_thread(
                self._ledger.want, self._session.account, self._session.realm, items
            )
        return found, set(self._mapped)

    def learned(self, mapping: Mapping) -> None:
        """A document was acknowledged: what waits for it may go on."""
        self._mapped[mapping.key] = mapping

    async def mapping(self, key: Key) -> Mapping | None:
        """The entity there of one document, as the ledger has it now."""
        found = await asyncio.to_thread(self._ledger.mappings, self._session.account, [key])
        return found.get(key)

    async def body(self, intent: Intent) -> JsonObject | Refused:
        """The body of the call, or the fault that can be seen before it."""
        wanted = decode_wanted(intent.key.entity, intent.content)
        if intent.op is Op.REJECT:
            return await self._sparse(intent.key, {"TxnStatus": "Rejected"})
        if isinstance(wanted, Sale):
            made = await self._estimate(wanted)
        elif isinstance(wanted, Party):
            made = self._customer(wanted, intent.op)
        else:
            made = await self._item(wanted)
        if intent.op is Op.CREATE or isinstance(made, Refused):
            return made
        return await self._sparse(intent.key, made)

    def _needs_of(self, intent: Intent) -> list[Key]:
        if intent.key.entity is not Entity.ESTIMATE or intent.op is Op.REJECT:
            return []
        # The preferences decide which charges need an item; they are fixed during a run.
        known = self._needs.get((intent.id, intent.hash))
        if known is None:
            sale = decode_wanted(Entity.ESTIMATE, intent.content)
            if not isinstance(sale, Sale):
                return []
            known = [Key(Entity.CUSTOMER, "customer", sale.content.customer)]
            known += item_keys(sale, self._session.preferences)
            self._needs[intent.id, intent.hash] = known
        return known

    async def _estimate(self, sale: Sale) -> JsonObject | Refused:
        preferences, settings = self._session.preferences, self._session.settings
        customer_key = Key(Entity.CUSTOMER, "customer", sale.content.customer)
        keys = [customer_key, *item_keys(sale, preferences)]
        contents = await asyncio.to_thread(self._ledger.wanted, self._session.account, keys)
        values = {key: decode_wanted(key.entity, data) for key, data in contents.items()}
        customer = values.get(customer_key)
        if not isinstance(customer, Party):
            return faults.preflight("no_customer", sale.content.customer)
        refused = check(sale, customer, preferences, settings)
        if refused is not None:
            return refused
        try:
            class_ = await self._tracked("Class", sale.content.class_)
            department = await self._tracked("Department", sale.content.department)
        except Unanswered as error:
            return faults.preflight("not_answered", str(error))
        if class_ is None:
            return faults.preflight("unknown_class", sale.content.class_)
        if department is None:
            return faults.preflight("unknown_department", sale.content.department)
        items = {key: self._mapped[key].external_id for key in keys[1:]}
        refs = Refs(
            customer=self._mapped[customer_key].external_id,
            items={key.local_id: ext for key, ext in items.items() if key.local_type != CHARGE},
            charges={key.local_id: ext for key, ext in items.items() if key.local_type == CHARGE},
            mark=marker.sign(self.marker_keys[0], sale.type, sale.id),
            class_=class_,
            department=department,
        )
        products = {
            key.local_id: value
            for key, value in values.items()
            if isinstance(value, Product) and key.local_type != CHARGE
        }
        return to_estimate(
            sale, customer, products, refs, preferences=preferences, settings=settings
        )

    def _customer(self, party: Party, op: Op) -> JsonObject | Refused:
        if not party.name.strip():
            return faults.preflight("no_name", f"customer {party.id}")
        if op is Op.UPDATE:
            return customer_fields(party)
        mark = marker.sign(self.marker_keys[0], "customer", party.id)
        return to_customer(party, self._session.preferences, mark)

    async def _item(self, product: Product) -> JsonObject | Refused:
        if not product.name.strip():
            return faults.preflight("no_name", f"product {product.id}")
        if not self._income_account:
            self._income_account = await self._find_income_account()
        if not self._income_account:
            return faults.preflight("no_income_account")
        return to_item(product, self._session.settings, self._income_account)

    async def _find_income_account(self) -> str:
        """The income account of products, else of services, else the first by id."""
        statement = select("Account", equals("AccountType", "Income"))
        try:
            accounts = await self._session.query(statement, "Account")
        except Unanswered:
            return ""

        def rank(account: JsonObject) -> int:
            kind = account.get("AccountSubType")
            return _INCOME_KINDS.index(kind) if kind in _INCOME_KINDS else len(_INCOME_KINDS)

        accounts = [account for account in accounts if account.get("Active", True)]
        return str(min(accounts, key=rank)["Id"]) if accounts else ""

    async def _tracked(self, entity: str, name: str) -> str | None:
        """The id there of the class or department ``name``; "" where none is to be said, None
        where QuickBooks has none of that name. The lists are read once in a run, and only when
        one is named.
        """
        preferences = self._session.preferences
        by_document = preferences.class_per_document or preferences.class_per_line
        if not name or not (preferences.departments if entity == "Department" else by_document):
            return ""
        if entity not in self._names:
            found: dict[str, str] = {}
            async for page in self._session.pages(entity):
                for row in page:
                    found.setdefault(folded(str(row.get("Name"))), str(row["Id"]))
                    found[folded(str(row.get("FullyQualifiedName")))] = str(row["Id"])
            self._names[entity] = found
        return self._names[entity].get(folded(name))

    async def _sparse(self, key: Key, fields: JsonObject) -> JsonObject | Refused:
        mapping = await self.mapping(key)
        if mapping is None:
            return faults.preflight("deleted_there")
        return {
            **fields,
            "sparse": True,
            "Id": mapping.external_id,
            "SyncToken": mapping.sync_token or "0",
        }
