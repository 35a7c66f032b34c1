"""From an intent to the body of its call: what it refers to, looked up in the ledger.

What is not mapped yet is a need, and the row waits (:mod:`qbo_sink.plan`); nothing is guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qbo_sink import faults, marker, twoway
from qbo_sink.conversion import GONE
from qbo_sink.estimate import Refs, check, item_keys, to_estimate, to_invoice
from qbo_sink.faults import Refused
from qbo_sink.feed import charge_item
from qbo_sink.followed import NOTHING, Became
from qbo_sink.ledger import Ledger
from qbo_sink.matches import APART, Match, MatchStore
from qbo_sink.meeting_store import MeetingStore
from qbo_sink.model import (
    CHARGE,
    CHARGES,
    CONVERTED,
    ERRANDS,
    SALES,
    Entity,
    Errand,
    JsonObject,
    Key,
    Label,
    Op,
    Party,
    Product,
    Sale,
    Wanted,
    charge_product,
    decode_wanted,
    target_of,
)
from qbo_sink.party import folded, to_customer, to_item, to_label_body
from qbo_sink.plan import Intent
from qbo_sink.rows import Mapping
from qbo_sink.session import Session, Unanswered
from qbo_sink.wire import as_json, decimal, equals, select

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
        self._labels: dict[tuple[Entity, str], Key] = {}
        self._survivors: dict[tuple[str, str], str] = {}
        self._matches: dict[Key, Match] = {}
        self._looked_up = False

    async def needs(self, intents: Sequence[Intent]) -> tuple[dict[int, list[Key]], set[Key]]:
        """What each record needs to stand there first, and which of that does."""
        await self._look_up_once()
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

    async def _look_up_once(self) -> None:
        """Our classes and departments by name, and names that were merged there."""
        if self._looked_up:
            return
        store = MeetingStore(self._ledger.engine)
        account = self._session.account
        for entity in (Entity.CLASS, Entity.DEPARTMENT):
            for key, data in (await asyncio.to_thread(store.contents, account, entity)).items():
                label = decode_wanted(entity, data)
                if isinstance(label, Label) and label.active:
                    self._labels[entity, folded(label.name)] = key
        self._survivors = await asyncio.to_thread(store.survivors, self._session.realm)
        self._matches = await asyncio.to_thread(MatchStore(self._ledger.engine).of, account)
        self._looked_up = True

    async def ask(self, named: list[Match]) -> None:
        """These share a name with a record there and nothing else: somebody has to say."""
        if named:
            store = MatchStore(self._ledger.engine)
            await asyncio.to_thread(store.note, self._session.account, named)
            self._matches = {one.key: one for one in named} | self._matches

    def is_asked(self, key: Key) -> bool:
        """Whether somebody is or was asked about the name of this record."""
        return key in self._matches

    def is_apart(self, key: Key, external_id: str) -> bool:
        """Whether somebody said that this record is not that one there."""
        match = self._matches.get(key)
        return match is not None and (match.decision, match.external_id) == (APART, external_id)

    def forget_names(self) -> None:
        """Names there may have moved: look them up again."""
        self._looked_up = False

    def learned(self, mapping: Mapping) -> None:
        """A document was acknowledged: what waits for it may go on."""
        self._mapped[mapping.key] = mapping

    async def mapping(self, key: Key) -> Mapping | None:
        """The entity there of one document, as the ledger has it now."""
        found = await asyncio.to_thread(self._ledger.mappings, self._session.account, [key])
        return found.get(key)

    async def refresh(self, link: Mapping, row: JsonObject, became: Became = NOTHING) -> None:
        """What stands there now, with nothing of ours changed: the next write starts from it."""
        token = str(row.get("SyncToken") or "0")
        await asyncio.to_thread(
            self._ledger.drifted,
            self._session.account,
            link.key,
            link.drift,
            token,
            became,
            snapshot=as_json(row),
        )

    async def body(self, intent: Intent) -> JsonObject | Refused:
        """The body of the call, or the fault that can be seen before it."""
        wanted = decode_wanted(intent.key.entity, intent.content)
        if isinstance(wanted, Errand):
            return await self._errand(intent.key, wanted)
        match = self._matches.get(intent.key)
        if match is not None and not match.decision:
            return faults.preflight("same_name", f"{match.name}: {match.shown}")
        if intent.op is Op.UPDATE and intent.key.entity in twoway.TWO_WAY:
            return await self._changed(intent.key, wanted)
        if intent.op is not Op.CREATE and isinstance(wanted, Sale):
            refused = invoiced(intent, await self.mapping(intent.key))
            if refused is not None:
                return refused
        if intent.op is Op.REJECT:
            return await self._sparse(intent.key, {"TxnStatus": "Rejected"})
        if isinstance(wanted, Sale):
            made = await self._sale(intent, wanted)
        else:
            made = await self._record(intent.key, wanted)
        if intent.op is Op.CREATE or isinstance(made, Refused):
            return made
        return await self._sparse(intent.key, made)

    async def _record(self, key: Key, wanted: Wanted) -> JsonObject | Refused:
        """The whole body of a customer, item, class or department."""
        if isinstance(wanted, Party):
            return self._customer(wanted)
        if isinstance(wanted, Product):
            return await self._item(wanted)
        if isinstance(wanted, Label):
            return self._label(key.entity, wanted)
        raise TypeError(type(wanted).__name__)

    async def _changed(self, key: Key, wanted: Wanted) -> JsonObject | Refused:
        """What changed here since both sides agreed, and nothing else."""
        link = await self.mapping(key)
        made = await self._record(key, wanted)
        if link is None or isinstance(made, Refused):
            return faults.preflight("deleted_there") if link is None else made
        names = twoway.pending(wanted, link)
        return await self._sparse(key, twoway.changes(key.entity, made, names, link.row))

    def _label(self, entity: Entity, label: Label) -> JsonObject | Refused:
        preferences = self._session.preferences
        if not (preferences.tracks_classes if entity is Entity.CLASS else preferences.departments):
            return faults.preflight("no_tracking")
        if not label.name.strip():
            return faults.preflight("no_name", f"{entity.path} {label.id}")
        parent = self._mapped.get(Key(entity, entity.path, label.parent))
        child = "SubClass" if entity is Entity.CLASS else "SubDepartment"
        return to_label_body(label, child, "" if parent is None else parent.external_id)

    def _needs_of(self, intent: Intent) -> list[Key]:
        if intent.key.entity in twoway.LABELS:
            label = decode_wanted(intent.key.entity, intent.content)
            parent = label.parent if isinstance(label, Label) else ""
            return [intent.key._replace(local_id=parent)] if parent else []
        if intent.key.entity in ERRANDS:
            return [intent.key._replace(entity=Entity.INVOICE)]
        if intent.key.entity not in SALES or intent.op is Op.REJECT:
            return []
        # The preferences decide which charges need an item; they are fixed during a run.
        known = self._needs.get((intent.id, intent.hash))
        if known is None:
            sale = decode_wanted(intent.key.entity, intent.content)
            if not isinstance(sale, Sale):
                return []
            known = [Key(Entity.CUSTOMER, "customer", sale.content.customer)]
            known += item_keys(sale, self._session.preferences)
            known += self._labels_of(sale)
            if intent.form == CONVERTED:
                known.append(sale.key)
            self._needs[intent.id, intent.hash] = known
        return known

    async def _errand(self, key: Key, errand: Errand) -> JsonObject | Refused:
        """What is done to the document as it stands there now."""
        link = await self.mapping(target_of(key))
        if link is None:
            return faults.preflight("deleted_there")
        if key.entity is Entity.CLOSING:
            closed = {"TxnStatus": "Closed", "sparse": True}
            return {**closed, "Id": link.external_id, "SyncToken": link.sync_token or "0"}
        return {"Id": link.external_id, "sendTo": errand.address}

    async def _sale(self, intent: Intent, sale: Sale) -> JsonObject | Refused:
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
        items = {key: self._external_id(key) for key in keys[1:]}
        converts = intent.form == CONVERTED and intent.op is Op.CREATE
        estimate = self._external_id(sale.key) if converts else ""
        refs = Refs(
            customer=self._external_id(customer_key),
            items={key.local_id: ext for key, ext in items.items() if key.local_type != CHARGE},
            charges={key.local_id: ext for key, ext in items.items() if key.local_type == CHARGE},
            mark=marker.sign(self.marker_keys[0], sale.type, sale.id),
            class_=class_,
            department=department,
            estimate=estimate,
        )
        products = {
            key.local_id: value
            for key, value in values.items()
            if isinstance(value, Product) and key.local_type != CHARGE
        }
        if intent.key.entity is Entity.INVOICE:
            return to_invoice(
                sale, customer, products, refs, preferences=preferences, settings=settings
            )
        return to_estimate(
            sale,
            customer,
            products,
            refs,
            preferences=preferences,
            settings=settings,
            form=intent.form,
        )

    def _external_id(self, key: Key) -> str:
        """The id there that a document refers to: of the name that is left, where it was merged."""
        external = self._mapped[key].external_id
        return self._survivors.get((str(key.entity), external), external)

    def _labels_of(self, sale: Sale) -> list[Key]:
        """Our own class and department of a sale: they are made there before it."""
        wanted = ((Entity.CLASS, sale.content.class_), (Entity.DEPARTMENT, sale.content.department))
        keys = [self._labels.get((entity, folded(name))) for entity, name in wanted if name]
        tracked = self._session.preferences
        on = {Entity.CLASS: tracked.tracks_classes, Entity.DEPARTMENT: tracked.departments}
        return [key for key in keys if key is not None and on[key.entity]]

    def _customer(self, party: Party) -> JsonObject | Refused:
        if not party.name.strip():
            return faults.preflight("no_name", f"customer {party.id}")
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
        classes = preferences.tracks_classes
        if not name or not (preferences.departments if entity == "Department" else classes):
            return ""
        ours = self._labels.get((Entity(entity), folded(name)))
        if ours is not None and ours in self._mapped:
            return self._mapped[ours].external_id
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


def invoiced(intent: Intent, link: Mapping | None) -> Refused | None:
    """Why a change of a document that is invoiced is not sent: what was booked is the office's.

    None where it may go: to an estimate, or to an invoice of ours that is neither paid nor gone.
    """
    if link is None:
        return None
    if intent.key.entity is Entity.ESTIMATE:
        there = link.drift == "invoiced"
        return faults.preflight("invoiced_there", link.number) if there else None
    if intent.op is Op.REJECT:
        return faults.preflight("invoice_stands", link.number)
    if link.drift in GONE:
        return faults.preflight("invoice_gone", link.number)
    row = link.row
    owed = "Balance" not in row or decimal(row["Balance"]) == decimal(row.get("TotalAmt"))
    return None if owed else faults.preflight("invoice_paid", link.number)
