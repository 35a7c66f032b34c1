"""Our committed documents against what they became there: what differs, and both sums. Pure.

An order is compared with its invoice once there is one, with its estimate until then. A document
there belongs to us when one here is linked to it, or when it carries our marker; what the office
made by itself is counted and left alone (quickbooks.md §2.5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from qbo_sink import compare, marker
from qbo_sink.answers import net_total, to_minor
from qbo_sink.estimate import meant_total
from qbo_sink.model import Entity, JsonObject, Sale, content_hash
from qbo_sink.rows import Mapping as Link
from qbo_sink.wire import decimal

ACCEPTED = "accepted"
"""The drift of an entity that somebody took as the office left it."""
KINDS = ("missing", "deleted", "differs", "changed", "duplicate", "orphan")
DRIFTS = ("deleted", "differs", "changed")
VOIDED = "voided"
"""The drift of an invoice that is as good as deleted."""
_VOID = "Rejected"


class Theirs(NamedTuple):
    """One document there, without its content. ``total`` is before tax; ``local_type`` and
    ``local_id`` are what its marker says; ``drift`` is that of the document linked to it."""

    external_id: str
    sync_token: str = ""
    number: str = ""
    date: str = ""
    customer: str = ""
    currency: str = ""
    status: str = ""
    total: str = "0"
    local_type: str = ""
    local_id: str = ""
    drift: str = ""
    fields: str = ""
    entity: str = Entity.ESTIMATE


class Ours(NamedTuple):
    """One committed document here. ``external_id`` is what it is linked to, empty for nothing."""

    local_type: str
    local_id: str
    number: str
    date: str
    currency: str
    total_minor: int
    cancelled: bool
    external_id: str = ""
    waits: bool = False  # a row of the queue is about it
    entity: str = Entity.ESTIMATE
    replaced: bool = False  # an estimate whose invoice stands for the order now


class Found(NamedTuple):
    """One difference. Totals are in minor units, None where there is no such side."""

    kind: str
    local_type: str = ""
    local_id: str = ""
    external_id: str = ""
    sync_token: str = ""
    number: str = ""
    date: str = ""
    currency: str = ""
    ours_minor: int | None = None
    theirs_minor: int | None = None
    fields: str = ""
    entity: str = Entity.ESTIMATE


class Month(NamedTuple):
    """Control totals of one month in one currency; money in minor units."""

    month: str
    currency: str
    ours: int = 0
    ours_minor: int = 0
    theirs: int = 0
    theirs_minor: int = 0


class Verdict(NamedTuple):
    """What a comparison found. ``foreign`` counts documents there that are not ours."""

    equal: int
    found: list[Found]
    months: list[Month]
    foreign: int


def seen(
    row: JsonObject,
    *,
    entity: Entity,
    home_currency: str,
    marker_keys: list[bytes],
    link: Link | None,
    sale: Sale | None,
    content: bytes,
) -> Theirs:
    """One row there as the comparison keeps it. ``link`` and ``sale`` are the document that is
    linked to it, ``content`` its bytes."""
    marked = marker.find(marker_keys, row.get("PrivateNote")) or ("", "")
    if link is None and (compare.estimate_of(row) or compare.is_voided(row)):
        # The office converted an estimate of ours, whose note came along, or voided an invoice in
        # whose place another one stands.
        marked = ("", "")
    drift, fields = "", ""
    if link is not None and sale is not None:
        drift, fields = drift_of(row, link, sale, content)
    return Theirs(
        external_id=str(row["Id"]),
        sync_token=str(row.get("SyncToken") or "0"),
        number=str(row.get("DocNumber") or ""),
        date=str(row.get("TxnDate") or ""),
        customer=str((row.get("CustomerRef") or {}).get("name") or ""),
        currency=str((row.get("CurrencyRef") or {}).get("value") or home_currency),
        status=str(row.get("TxnStatus") or ""),
        total=str(net_total(row)),
        local_type=marked[0],
        local_id=marked[1],
        drift=drift,
        fields=fields,
        entity=entity,
    )


def drift_of(row: JsonObject, link: Link, sale: Sale, content: bytes) -> tuple[str, str]:
    """What became of a linked document, and which fields say so."""
    # An amendment that is still on its way differs from what stands there, and rightly so.
    ours = link.hash == content_hash(content) and not sale.cancelled and link.drift != ACCEPTED
    meant = meant_total(sale) if ours else (Decimal(link.total) if link.total else None)
    is_invoice = link.key.entity is Entity.INVOICE
    drift = (compare.invoice_drift if is_invoice else compare.drift)(row, link.row, meant)
    fields = ",".join(compare.holds(row, link.row)) if drift == "changed" else ""
    return drift, fields


Place = tuple[str, str]
"""Entity and id there."""


def judge(ours: Iterable[Ours], theirs: Mapping[Place, Theirs]) -> Verdict:
    """Everything against everything."""
    equal, found = 0, []
    months: dict[tuple[str, str], Month] = {}
    linked: dict[Place, Ours] = {}
    known: dict[tuple[str, str], Ours] = {}
    for one in ours:
        if one.external_id:
            linked[one.entity, one.external_id] = one
        if one.replaced:
            continue
        known[one.local_type, one.local_id] = one
        if not one.cancelled:
            _add(months, one.date, one.currency, ours_minor=one.total_minor)
        row = theirs.get((one.entity, one.external_id))
        kind = _kind(one, row)
        if kind is None:
            continue
        if not kind:
            equal += 1
            continue
        found.append(_difference(kind, one, row))
    foreign = 0
    for place, row in theirs.items():
        owner = linked.get(place)
        if owner is None and not row.local_type:
            foreign += 1
            continue
        if owner is None:
            found.append(_unclaimed(row, known.get((row.local_type, row.local_id)), theirs))
        gone = row.status == _VOID or row.drift == VOIDED
        if not gone and (owner is None or not (owner.cancelled or owner.replaced)):
            minor = to_minor(decimal(row.total), row.currency)
            _add(months, row.date, row.currency, theirs_minor=minor)
    return Verdict(equal, found, sorted(months.values()), foreign)


def _kind(one: Ours, row: Theirs | None) -> str | None:
    """A difference, "" for none; None for a document that is rightly not there."""
    if not one.external_id:
        return None if one.cancelled else "missing"
    if row is None or row.drift == VOIDED:
        return None if one.cancelled else "deleted"
    return row.drift if row.drift in DRIFTS else ""


def _difference(kind: str, one: Ours, row: Theirs | None) -> Found:
    return Found(
        kind=kind,
        local_type=one.local_type,
        local_id=one.local_id,
        external_id=one.external_id,
        sync_token="" if row is None else row.sync_token,
        number=one.number,
        date=one.date,
        currency=one.currency,
        ours_minor=one.total_minor,
        theirs_minor=None if row is None else to_minor(decimal(row.total), row.currency),
        fields=_about(one, row),
        entity=one.entity,
    )


def _about(one: Ours, row: Theirs | None) -> str:
    if row is None:
        return "waits" if one.waits else ""
    return VOIDED if row.drift == VOIDED else row.fields


def _unclaimed(row: Theirs, owner: Ours | None, theirs: Mapping[Place, Theirs]) -> Found:
    """A document with our marker that none here is linked to: a second one of a document that
    stands there already, or one whose document is not known or not linked."""
    twice = owner is not None and (owner.entity, owner.external_id) in theirs
    return Found(
        kind="duplicate" if twice else "orphan",
        local_type=row.local_type,
        local_id=row.local_id,
        external_id=row.external_id,
        sync_token=row.sync_token,
        number=row.number,
        date=row.date,
        currency=row.currency,
        ours_minor=None,
        theirs_minor=to_minor(decimal(row.total), row.currency),
        entity=row.entity,
    )


def _add(
    months: dict[tuple[str, str], Month],
    date: str,
    currency: str,
    *,
    ours_minor: int | None = None,
    theirs_minor: int | None = None,
) -> None:
    place = (date[:7], currency)
    was = months.get(place, Month(*place))
    if ours_minor is not None:
        was = was._replace(ours=was.ours + 1, ours_minor=was.ours_minor + ours_minor)
    if theirs_minor is not None:
        was = was._replace(theirs=was.theirs + 1, theirs_minor=was.theirs_minor + theirs_minor)
    months[place] = was
