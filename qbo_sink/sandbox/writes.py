"""Create, update, delete and void: the checks of section 1.16 from the body on, then the commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from qbo_sink.sandbox import documents, effects, names, records
from qbo_sink.sandbox.books import Books, Company, Stored
from qbo_sink.sandbox.draft import Draft
from qbo_sink.sandbox.entities import ENTITIES, SHIPPING_ITEM, US_TAX_CODES, Entity
from qbo_sink.sandbox.faults import Problem, Refused, refused
from qbo_sink.sandbox.schema import STRUCTS
from qbo_sink.sandbox.shape import Reference, Shaped, shape
from qbo_sink.sandbox.switches import Switches
from qbo_sink.sandbox.values import ZERO, Json

Rule = Callable[[Draft], None]

# Business rules in their order; the first that refuses ends the request.
LIST_RULES: tuple[Rule, ...] = (
    names.tracking_gate,
    names.complete_person_name,
    names.name_characters,
    names.activity,
    names.parent_and_level,
    names.item_accounts,
    names.account_kind,
    names.social_security,
    names.party_defaults,
    names.term_kind,
    names.unique_name,
)
TRANSACTION_RULES: tuple[Rule, ...] = (
    documents.enabled,
    documents.switched_off,
    documents.party_matches,
    documents.line_form,
    documents.custom_fields,
    documents.dates,
    documents.sales_defaults,
    documents.sales_totals,
    documents.other_totals,
    documents.transfer_and_time,
    documents.line_ids,
    documents.estimate_link,
    documents.payment_links,
    documents.document_number,
    documents.number_unused,
)
RECORD_RULES: tuple[Rule, ...] = (records.attachment,)
RULES: dict[str, tuple[Rule, ...]] = {
    "list": LIST_RULES,
    "transaction": TRANSACTION_RULES,
    "single": (),
    "record": RECORD_RULES,
}


class Change(NamedTuple):
    """One object that a write changed, for notices: ``operation`` as webhooks name it."""

    entity: str
    id: str
    operation: str


class Written(NamedTuple):
    """``reply`` is the value under the entity's name in the answer."""

    reply: Json
    changes: list[Change]


class Writer(NamedTuple):
    """Writes of one request. Call inside ``books.atomic()``."""

    books: Books
    company: Company
    switches: Switches
    include: frozenset[str] = frozenset()

    def save(self, entity: Entity, raw: object, source: bytes, *, new_id: str = "") -> Written:
        """Create, or update when the body has an Id. Raises ``Refused``; nothing is kept then.

        ``new_id`` is the Id that a new object shall get, for the sample company.
        """
        if not isinstance(raw, dict):
            raise refused(2000, "The request body must be one JSON object")
        shaped = shape(entity.name, raw, source)
        if shaped.problems:
            raise Refused(*shaped.problems)
        id_ = str(shaped.body.get("Id", ""))
        if entity.family == "single":
            id_ = "1"
        wanted = "update" if id_ else "create"
        if wanted not in entity.verbs and not new_id:
            raise refused(500, f"Operation {wanted} is not supported for {entity.name}")
        if id_:
            draft = self._update(entity, id_, shaped)
        else:
            draft = self._draft(entity, shaped.body, None, shaped)
            _require(entity.required, draft.body)
        self._references(shaped.references)
        for rule in RULES[entity.family]:
            rule(draft)
        self._name_references(draft.body, entity.name)
        if new_id:
            draft.body["Id"] = new_id
        stored = self.books.put(self.company, entity, draft.body)
        changes = [Change(entity.name, stored["Id"], "Update" if draft.old else "Create")]
        also = effects.after_write(draft, stored)
        return Written(stored, changes + [Change(name, each, "Update") for name, each in also])

    def delete(self, entity: Entity, raw: object, source: bytes) -> Written:
        """Delete a transaction or a record for good."""
        old = self._addressed(entity, raw, source, "delete")
        draft = self._draft(entity, old.body, old, None)
        if entity.is_transaction:
            documents.dates(draft)
        tombstone = {"status": "Deleted", "Id": old.id}
        also = effects.after_write(draft, None)
        self.books.put(self.company, entity, old.body | tombstone, deleted=True)
        changes = [Change(entity.name, old.id, "Delete")]
        changes += [Change(name, each, "Update") for name, each in also]
        return Written({"status": "Deleted", "domain": "QBO", "Id": old.id}, changes)

    def void(self, entity: Entity, raw: object, source: bytes) -> Written:
        """Keep a transaction as a record of nothing: amounts zero, links gone."""
        old = self._addressed(entity, raw, source, "void")
        body = dict(old.body)
        draft = self._draft(entity, body, old, None)
        documents.dates(draft)
        also = effects.after_write(draft, None)
        for line in body.get("Line", []):
            if "Amount" in line:
                line["Amount"] = ZERO
            line.pop("LinkedTxn", None)
            for detail in line.values():
                if isinstance(detail, dict) and "Qty" in detail:
                    detail["Qty"] = ZERO
        for name in ("TotalAmt", "HomeTotalAmt", "Balance", "UnappliedAmt", "RemainingCredit"):
            if name in body:
                body[name] = ZERO
        body.pop("TxnTaxDetail", None)
        body["LinkedTxn"] = []
        note = body.get("PrivateNote", "")
        body["PrivateNote"] = f"Voided - {note}" if note else "Voided"
        stored = self.books.put(self.company, entity, body)
        changes = [Change(entity.name, old.id, "Void")]
        changes += [Change(name, each, "Update") for name, each in also]
        return Written(stored, changes)

    # Steps ------------------------------------------------------------------------------------

    def _draft(
        self, entity: Entity, body: Json, old: Stored | None, shaped: Shaped | None
    ) -> Draft:
        sent = frozenset(shaped.body) | shaped.cleared if shaped else frozenset()
        references = shaped.references if shaped else ()
        kept = {k: v for k, v in body.items() if k not in ("SyncToken", "sparse", "Id")}
        if old is not None:
            kept["Id"] = old.id
        return Draft(
            self.books,
            self.company,
            self.switches,
            entity,
            kept,
            old,
            sent,
            references,
            self.include,
        )

    def _update(self, entity: Entity, id_: str, shaped: Shaped) -> Draft:
        sparse = shaped.body.get("sparse", False)
        if not sparse:
            _require(entity.required, shaped.body)
        elif self.switches.sparse_needs_required:
            _require(entity.sparse, shaped.body)
        _require(("SyncToken",), shaped.body)
        old = self.current(entity, id_, str(shaped.body["SyncToken"]))
        before = old.body
        if sparse:
            body = {k: v for k, v in before.items() if k not in shaped.cleared}
            for name, value in shaped.body.items():
                body[name] = self._merged(before.get(name), value)
        else:
            keeps = {
                name: before[name]
                for name, prop in STRUCTS[entity.name].items()
                if prop.read_only and name in before
            }
            body = keeps | shaped.body
        _require(entity.required, body)
        return self._draft(entity, body, old, shaped)

    def _merged(self, before: object, value: object) -> object:
        merge = self.switches.nested_object_sparse == "merge"
        if merge and isinstance(before, dict) and isinstance(value, dict) and "value" not in value:
            return before | value
        return value

    def _addressed(self, entity: Entity, raw: object, source: bytes, verb: str) -> Stored:
        """The object that a delete or void names, its token compared."""
        if verb not in entity.verbs:
            raise refused(500, f"Operation {verb} is not supported for {entity.name}")
        if not isinstance(raw, dict):
            raise refused(2000, "The request body must be one JSON object")
        shaped = shape(entity.name, raw, source)
        if shaped.problems:
            raise Refused(*shaped.problems)
        _require(("Id", "SyncToken"), shaped.body)
        return self.current(entity, str(shaped.body["Id"]), str(shaped.body["SyncToken"]))

    def current(self, entity: Entity, id_: str, token: str) -> Stored:
        """The object with that Id, if ``token`` is its SyncToken. Raises ``Refused``."""
        if not id_.isascii() or not id_.isdigit():
            raise refused(2030, f"{id_} is not an Id", "Id")
        old = self.books.find(self.company.realm, entity.name, id_)
        if old is None:
            raise refused(610, f"Object Not Found : {entity.name} {id_} does not exist", "Id")
        if old.deleted:
            raise refused(610, f"Object Not Found : {entity.name} {id_} was deleted", "Id")
        if token != str(old.token):
            detail = (
                "Stale Object Error : You and another user were working on this at the same time. "
                f"Another user finished before you did, so your work was not saved "
                f"(SyncToken {token} was sent, {old.token} is current)."
            )
            raise refused(5010, detail, "SyncToken")
        return old

    def _references(self, references: tuple[Reference, ...]) -> None:
        for reference in references:
            if _is_pseudo(reference, self.company):
                continue
            target = self.books.live(self.company.realm, reference.entity, reference.id)
            if target is None:
                detail = f"Invalid Reference Id : {reference.path} {reference.id} does not exist"
                raise refused(2500, detail, reference.path)
            if not target.body.get("Active", True) and reference.entity != "Customer":
                detail = (
                    "Object Not Found : Something you're trying to use has been made inactive. "
                    f"{reference.path} {reference.id}"
                )
                raise refused(610, detail, reference.path)

    def _name_references(self, body: Json, struct: str) -> None:
        """Give every reference the name of what it points to."""
        for name, prop in STRUCTS[struct].items():
            value = body.get(name)
            if value is None or prop.type not in STRUCTS:
                continue
            for each in value if isinstance(value, list) else [value]:
                if prop.type != "ref":
                    self._name_references(each, prop.type)
                elif prop.arg:
                    self._name(each, prop.arg)

    def _name(self, reference: Json, entity: str) -> None:
        found = self.books.live(self.company.realm, entity, reference["value"])
        if found is not None:
            prop = ENTITIES[entity].name_property
            reference["name"] = found.body.get("FullyQualifiedName") or found.body[prop]


def _require(required: tuple[str, ...], body: Json) -> None:
    missing = [name for name in required if name not in body]
    if missing:
        raise Refused(
            *(
                Problem(2020, f"Required parameter {name} is missing in the request", name)
                for name in missing
            )
        )


def _is_pseudo(reference: Reference, company: Company) -> bool:
    if reference.entity == "Item":
        return reference.id == SHIPPING_ITEM
    if reference.entity != "TaxCode":
        return False
    # Which codes a US line takes is a tax rule (6100), not a question of existence.
    on_line = reference.path.endswith("Detail.TaxCodeRef") and company.is_us
    return on_line or reference.id in US_TAX_CODES
