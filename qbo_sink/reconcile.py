"""Every committed document against its estimate or invoice, page by page (architecture.md §9).

Invoices are read only where orders became some: an office has many of its own. A page is kept
before the next one is asked for, so a comparison that was killed goes on where it was. The same
pages show documents that carry our marker without a mapping: a lost ledger is rebuilt from them
before anything is sent (quickbooks.md §2.2 layer 4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from qbo_sink import answers, compare, marker
from qbo_sink.followed import Became, followed
from qbo_sink.judge import ACCEPTED, VOIDED, Found, Place, Theirs, Verdict, judge, seen
from qbo_sink.ledger import Ledger
from qbo_sink.model import SALES, Entity, JsonObject, Key, Sale, content_hash, decode_wanted
from qbo_sink.reconcile_store import Progress, ReconcileStore
from qbo_sink.rows import Answer, Mapping
from qbo_sink.session import Session
from qbo_sink.wire import among, as_json, select
from replica.limits import QBO_CONFIRM_IDS, QBO_PAGE_ROWS, QBO_PAGES_MAX
from replica.sink import Comparison

__all__ = ["ACCEPTED", "adopt_marked", "compare_all", "expected_reads"]


async def compare_all(
    session: Session, ledger: Ledger, store: ReconcileStore, marker_keys: list[bytes]
) -> Comparison:
    """Each committed order and quote against what it became. Raises ``Unanswered``; what was taken
    in until then is kept, and the next call goes on from there."""
    account = session.account
    progress = await asyncio.to_thread(store.begin, account, session.now_ms())
    take = _taker(session, ledger, store, marker_keys)
    if progress.entity == Entity.ESTIMATE:
        progress = await _read(session, take, progress)
        progress = await asyncio.to_thread(store.turn, account, progress, Entity.INVOICE)
    if await asyncio.to_thread(store.has_invoices, account):
        progress = await _read(session, take, progress)
    progress = await _confirm(session, store, take, progress)

    def conclude() -> Comparison:
        theirs = store.theirs(account, progress)
        verdict = judge(store.ours(account), theirs)
        store.finish(account, progress, verdict, session.now_ms())
        ledger.drifted_all(account, _drifts(store.links(account), theirs))
        return _comparison(store, account, verdict)

    return await asyncio.to_thread(conclude)


def expected_reads(known: Progress, linked: int, *, invoices: bool) -> int:
    """How many metered reads a comparison will cost, from what the last one saw; an empty page
    ends each kind."""
    rows = max(known.fetched, linked)
    return -(-rows // QBO_PAGE_ROWS) + 1 + invoices


class Take(Protocol):
    """Keeps one page of ``entity``; ``fetched`` rows further on the next one begins."""

    def __call__(
        self, progress: Progress, entity: Entity, page: list[JsonObject], fetched: int
    ) -> Progress: ...


async def _read(session: Session, take: Take, progress: Progress) -> Progress:
    """Every page of what the comparison has come to."""
    entity = Entity(progress.entity)
    for _ in range(QBO_PAGES_MAX):
        statement = select(entity, start=progress.next_start, limit=QBO_PAGE_ROWS)
        page = await session.query(statement, entity)
        if not page:
            break
        progress = await asyncio.to_thread(take, progress, entity, page, len(page))
    return progress


def _taker(
    session: Session, ledger: Ledger, store: ReconcileStore, marker_keys: list[bytes]
) -> Take:
    account, home = session.account, session.preferences.home_currency

    def take(progress: Progress, entity: Entity, page: list[JsonObject], fetched: int) -> Progress:
        ids = [str(row["Id"]) for row in page]
        links = ledger.mapped_by_id(session.realm, entity, ids)
        contents = ledger.wanted(account, [link.key for link in links.values()])
        rows = []
        for row in page:
            link = links.get(str(row["Id"]))
            content = contents.get(link.key, b"") if link is not None else b""
            sale = decode_wanted(entity, content) if content else None
            known = sale if isinstance(sale, Sale) else None
            rows.append(
                seen(
                    row,
                    entity=entity,
                    home_currency=home,
                    marker_keys=marker_keys,
                    link=link,
                    sale=known,
                    content=content,
                )
            )
        return store.take(account, progress, rows, fetched, 1)

    return take


async def _confirm(
    session: Session, store: ReconcileStore, take: Take, progress: Progress
) -> Progress:
    """Ask by id for what no page showed: a row that slipped between two pages is not deleted."""
    for entity in (Entity.ESTIMATE, Entity.INVOICE):
        unseen = await asyncio.to_thread(store.unseen, session.account, progress, entity)
        for at in range(0, len(unseen), QBO_CONFIRM_IDS):
            condition = among("Id", unseen[at : at + QBO_CONFIRM_IDS])
            page = await session.query(select(entity, condition), entity)
            progress = await asyncio.to_thread(take, progress, entity, page, 0)
    return progress


def _drifts(links: list[tuple[Key, str, str]], theirs: dict[Place, Theirs]) -> dict[Key, str]:
    """The state of each linked document, where it is another than was known."""
    found = {}
    for key, external_id, known in links:
        row = theirs.get((key.entity, external_id))
        state = "deleted" if row is None else row.drift
        if state != ("" if known == ACCEPTED else known):
            found[key] = state
    return found


def _comparison(store: ReconcileStore, account: bytes, verdict: Verdict) -> Comparison:
    """The verdict without what somebody said may be."""
    kept = [one.found for one in store.findings(account)]

    def ids(*kinds: str) -> list[str]:
        return [_name(found) for found in kept if found.kind in kinds]

    return Comparison(
        equal=verdict.equal,
        missing=ids("missing"),
        changed=ids("changed"),
        deleted=ids("deleted"),
        differs=ids("differs"),
        extra=ids("duplicate", "orphan"),
    )


def _name(found: Found) -> str:
    return found.local_id if found.kind not in ("duplicate", "orphan") else found.external_id


async def adopt_marked(
    session: Session,
    ledger: Ledger,
    marker_keys: Sequence[bytes],
    look: Callable[[list[JsonObject]], None] = lambda _: None,
) -> int:
    """Link what carries our marker and has no mapping, and say so; how many those were.

    Raises ``Unanswered``. Of two documents with one marker the older is linked, unless it is
    voided; the other shows as a duplicate in the comparison. ``look`` sees every page of customers.
    """
    found: dict[Key, JsonObject] = {}
    for entity, column, name in (
        (Entity.CUSTOMER, "Notes", "Customer"),
        (Entity.ESTIMATE, "PrivateNote", "Estimate"),
        (Entity.INVOICE, "PrivateNote", "Invoice"),
    ):
        async for page in session.pages(name):
            if entity is Entity.CUSTOMER:
                look(page)
            for row in page:
                marked = marker.find(marker_keys, row.get(column))
                key = None if marked is None else Key(entity, *marked)
                if key is not None and (key not in found or _is_voided(key, found[key])):
                    found[key] = row
    await asyncio.to_thread(ledger.become_invoices, session.account, list(found))
    contents = await asyncio.to_thread(ledger.wanted, session.account, found)
    links = []
    for key, row in found.items():
        if key in contents:
            wanted = decode_wanted(key.entity, contents[key])
            currency = wanted.content.currency if isinstance(wanted, Sale) else ""
            mapping = linked(session.realm, key, row, contents[key])
            links.append((mapping, said(key, row, currency, of_estimate=_estimate(key) in found)))
    return await asyncio.to_thread(ledger.adopt, session.account, links)


def _is_voided(key: Key, row: JsonObject) -> bool:
    return key.entity is Entity.INVOICE and compare.is_voided(row)


def _estimate(key: Key) -> Key | None:
    """The key of the estimate of an invoice."""
    return key._replace(entity=Entity.ESTIMATE) if key.entity is Entity.INVOICE else None


def said(key: Key, row: JsonObject, currency: str, *, of_estimate: bool) -> list[Answer]:
    """What is said of a document that was found there; ``of_estimate`` when it is an invoice whose
    estimate is known too."""
    identity, number = str(row["Id"]), str(row.get("DocNumber") or "")
    if key.entity is not Entity.INVOICE:
        return [answer] if (answer := answers.done(key, row, currency)) else []
    state = VOIDED if _is_voided(key, row) else "invoiced"
    report = followed(key, state, Became(document=identity, number=number))
    found = [report] if report else []
    if of_estimate:
        return found
    net = answers.net_total(row)
    return [answers.estimated(key, identity, number, net, currency), *found]


def linked(realm: str, key: Key, row: JsonObject, content: bytes) -> Mapping:
    """The mapping of a document to the row that stands for it."""
    is_sale = key.entity in SALES
    invoiced = key.entity is Entity.ESTIMATE and compare.invoice_of(row)
    return Mapping(
        key=key,
        realm=realm,
        external_id=str(row["Id"]),
        sync_token=str(row.get("SyncToken") or "0"),
        number=str(row.get("DocNumber") or ""),
        hash=content_hash(content),
        total=str(answers.net_total(row)) if is_sale else "",
        drift="invoiced" if invoiced else VOIDED if _is_voided(key, row) else "",
        snapshot=as_json(row),
    )
