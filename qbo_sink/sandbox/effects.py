"""What a committed transaction changes in others: links, statuses, balances."""

from __future__ import annotations

from decimal import Decimal

from qbo_sink.sandbox.draft import Draft
from qbo_sink.sandbox.entities import ENTITIES, OPEN, SETTLED
from qbo_sink.sandbox.values import ZERO, Json, cents


def after_write(draft: Draft, stored: Json | None) -> list[tuple[str, str]]:
    """Bring linked objects in step with ``stored`` (None: deleted or voided).

    Returns (entity, id) of what changed besides, for the change notices; balances of names move
    without one.
    """
    _move_balances(draft, draft.entity.name, draft.old.body if draft.old else None, stored)
    released = _release(draft) if stored is None else []
    return released + _linked(draft, stored)


def _linked(draft: Draft, stored: Json | None) -> list[tuple[str, str]]:
    if draft.entity.name == "Invoice":
        return _estimates(draft, stored)
    if draft.entity.name in SETTLED:
        return _settled(draft, stored)
    if draft.entity.name == "Attachable" and draft.old is not None and stored is None:
        draft.books.drop_file(draft.company.realm, draft.old.id)
        return []
    if draft.entity.child and draft.old is not None and stored is not None:
        return _children(draft, stored)
    return []


def _release(draft: Draft) -> list[tuple[str, str]]:
    """What had paid a document that is gone is open again."""
    old = draft.old.body if draft.old else {}
    changed = []
    for kind in SETTLED:
        for id_ in sorted(_links(old, kind) if draft.entity.name in SETTLED[kind] else ()):
            payer = draft.get(kind, {"value": id_})
            if payer is None:
                continue
            before, lines = dict(payer), payer.get("Line", [])
            kept = [line for line in lines if not _pays(line, draft.entity.name, old["Id"])]
            freed = sum((line["Amount"] for line in lines if line not in kept), ZERO)
            payer["Line"] = kept
            if "UnappliedAmt" in payer:
                payer["UnappliedAmt"] = cents(payer["UnappliedAmt"] + freed)
            draft.put(kind, payer)
            _move_balances(draft, kind, before, payer)
            changed.append((kind, id_))
    return changed


def _pays(line: Json, kind: str, id_: str) -> bool:
    links = line.get("LinkedTxn", [])
    return any(link.get("TxnType") == kind and link.get("TxnId") == id_ for link in links)


def _move_balances(draft: Draft, kind: str, before: Json | None, after: Json | None) -> None:
    """What is open on a document counts in the balance of whom it is with."""
    if kind not in OPEN:
        return
    prop, sign = OPEN[kind]
    party = ENTITIES[kind].party
    for body, direction in ((before, -1), (after, 1)):
        amount = body.get(prop, ZERO) if body else ZERO
        if body is not None and amount and party in body:
            _owe(draft, party.removesuffix("Ref"), body[party], sign * direction * amount)


def _owe(draft: Draft, entity: str, reference: Json, amount: Decimal) -> None:
    name = draft.get(entity, reference)
    if name is None:
        return
    name["Balance"] = cents(name.get("Balance", ZERO) + amount)
    draft.put(entity, name, bump=False, quiet=True)
    above: Json | None = name
    while above is not None and "BalanceWithJobs" in above:
        above["BalanceWithJobs"] = cents(above["BalanceWithJobs"] + amount)
        draft.put(entity, above, bump=False, quiet=True)
        above = draft.get(entity, above.get("ParentRef"))


def _children(draft: Draft, parent: Json) -> list[tuple[str, str]]:
    """After a rename the full names below follow; their tokens stay."""
    entity, prop = draft.entity.name, draft.entity.name_property
    facts = draft.books.facts(draft.company.realm, draft.entity)
    changed = []
    for id_ in [id_ for id_, row in facts.items() if row["parentref"] == parent["Id"]]:
        child = draft.get(entity, {"value": str(id_)})
        if child is None:
            continue
        full = f"{parent['FullyQualifiedName']}:{child[prop]}"
        if child.get("FullyQualifiedName") != full:
            child["FullyQualifiedName"] = full
            draft.put(entity, child, bump=False)
            changed += [(entity, child["Id"]), *_children(draft, child)]
    return changed


def _links(body: Json | None, kind: str) -> set[str]:
    links = body.get("LinkedTxn", []) if body else []
    return {link["TxnId"] for link in links if link.get("TxnType") == kind}


def _estimates(draft: Draft, stored: Json | None) -> list[tuple[str, str]]:
    before = _links(draft.old.body if draft.old else None, "Estimate")
    after = _links(stored, "Estimate")
    own = stored["Id"] if stored else draft.old.id if draft.old else ""
    changed = []
    for id_ in sorted(before ^ after):
        estimate = draft.get("Estimate", {"value": id_})
        if estimate is None or (id_ in before and not draft.switches.delete_reopens_estimate):
            continue
        links = [link for link in estimate.get("LinkedTxn", []) if link["TxnId"] != own]
        if id_ in after:
            links.append({"TxnId": own, "TxnType": "Invoice"})
            status = draft.switches.estimate_status_after_invoice
            if status != "unchanged":
                estimate["TxnStatus"] = status
        estimate["LinkedTxn"] = links
        draft.put("Estimate", estimate, bump=draft.switches.estimate_token_bump_on_invoice)
        changed.append(("Estimate", id_))
    return changed


def _used(kind: str, body: Json | None) -> dict[tuple[str, str], Decimal]:
    """What a payment uses up of each document, by entity and Id."""
    used: dict[tuple[str, str], Decimal] = {}
    for line in body.get("Line", []) if body else []:
        for link in line.get("LinkedTxn", []):
            if link.get("TxnType") in SETTLED[kind]:
                key = (link["TxnType"], link.get("TxnId", ""))
                used[key] = used.get(key, ZERO) + line.get("Amount", ZERO)
    return used


def _settled(draft: Draft, stored: Json | None) -> list[tuple[str, str]]:
    name = draft.entity.name
    before, after = _used(name, draft.old.body if draft.old else None), _used(name, stored)
    own = stored["Id"] if stored else draft.old.id if draft.old else ""
    changed = []
    for kind, id_ in sorted(before.keys() | after.keys()):
        linked = draft.get(kind, {"value": id_})
        if linked is None:
            continue
        prop = SETTLED[name][kind]
        moved = after.get((kind, id_), ZERO) - before.get((kind, id_), ZERO)
        before_it = dict(linked)
        linked[prop] = cents(linked[prop] - moved)
        if prop == "RemainingCredit":
            linked["Balance"] = linked[prop]
        links = [link for link in linked.get("LinkedTxn", []) if link["TxnId"] != own]
        if (kind, id_) in after:
            links.append({"TxnId": own, "TxnType": name})
        linked["LinkedTxn"] = links
        draft.put(kind, linked)
        _move_balances(draft, kind, before_it, linked)
        changed.append((kind, id_))
    return changed
