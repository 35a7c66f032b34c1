"""Change notices: an outbox in the books, two payload formats, a signature, a retry ladder."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from typing import Any, NamedTuple

from sqlalchemy import insert, select, update

from qbo_sink.sandbox import tables
from qbo_sink.sandbox.books import Books, Company
from qbo_sink.sandbox.switches import Settings, Switches
from qbo_sink.sandbox.values import Json, stamp, write_json
from qbo_sink.sandbox.writes import Change

# Seconds until the next attempt, by how many failed; the last repeats (section 1.10).
LADDER_S = (10, 20, 30, 300, 1_200, 7_200, 14_400, 21_600)
ATTEMPTS_MAX = 16
_SILENT = frozenset(
    {
        "Attachable",
        "CompanyCurrency",
        "CompanyInfo",
        "CreditCardPayment",
        "CustomerType",
        "ExchangeRate",
        "RecurringTransaction",
        "TaxCode",
        "TaxRate",
    }
)
_PAST = {
    "Create": "created",
    "Update": "updated",
    "Delete": "deleted",
    "Void": "voided",
    "Merge": "merged",
    "Emailed": "emailed",
}


class Due(NamedTuple):
    """A notice to post now. ``headers`` are ready to send with ``body``."""

    id: int
    body: bytes
    headers: dict[str, str]


def signature(body: bytes, verifier: str) -> str:
    """What ``intuit-signature`` holds: base64 of HMAC-SHA256 over the raw body."""
    return base64.b64encode(hmac.new(verifier.encode(), body, hashlib.sha256).digest()).decode()


class Notices:
    """The outbox. Nothing is written while no receiver is set."""

    def __init__(self, books: Books, settings: Settings) -> None:
        self.books = books
        self.verifier = settings.webhook_verifier
        self.url = settings.webhook_url

    def put(
        self, company: Company, changes: list[Change], switches: Switches, extra: Json | None
    ) -> None:
        """One POST per format for all ``changes``; inside ``books.atomic()``."""
        told = [change for change in changes if change.entity not in _SILENT]
        if not self.url or not told:
            return
        now = self.books.clock.now_ms()
        bodies: list[Any] = []
        if switches.webhook_format in ("old", "both"):
            bodies.append(_old(company, told, now, extra))
        if switches.webhook_format in ("cloudevents", "both"):
            bodies.append([_cloud_event(company, change, now, extra) for change in told])
        for body in bodies:
            self.books.connection.execute(
                insert(tables.notices).values(
                    body=write_json(body), due_ms=now, attempt=0, state="waiting"
                )
            )

    def due(self, limit: int = 10) -> list[Due]:
        """Notices whose time has come, oldest first; report each with :meth:`answered`."""
        n = tables.notices
        now = self.books.clock.now_ms()
        rows = self.books.connection.execute(
            select(n).where(n.c.state == "waiting", n.c.due_ms <= now).order_by(n.c.id).limit(limit)
        )
        return [Due(row.id, row.body, self._headers(row.body, now)) for row in rows]

    def answered(self, notice_id: int, *, accepted: bool) -> None:
        """Done when accepted; else due again by the ladder until it ends."""
        n = tables.notices
        with self.books.atomic():
            attempt = self.books.connection.scalar(select(n.c.attempt).where(n.c.id == notice_id))
            tried = int(attempt or 0) + 1
            wait_s = LADDER_S[min(tried, len(LADDER_S)) - 1]
            state = "sent" if accepted else "waiting" if tried < ATTEMPTS_MAX else "given up"
            due_ms = self.books.clock.now_ms() + wait_s * 1000
            values = {"attempt": tried, "state": state, "due_ms": due_ms}
            self.books.connection.execute(update(n).where(n.c.id == notice_id).values(values))

    def listing(self) -> list[Json]:
        """The newest hundred notices, for the control routes."""
        n = tables.notices
        rows = self.books.connection.execute(select(n).order_by(n.c.id.desc()).limit(100))
        return [
            {"id": row.id, "state": row.state, "attempt": row.attempt, "body": row.body.decode()}
            for row in rows
        ]

    def _headers(self, body: bytes, now_ms: int) -> dict[str, str]:
        return {
            "content-type": "application/json",
            "intuit-signature": signature(body, self.verifier),
            "intuit-created-time": str(now_ms),
            "intuit-t-id": str(uuid.uuid4()),
            "intuit-notification-schema-version": "1.0",
        }


def _old(company: Company, changes: list[Change], now_ms: int, extra: Json | None) -> Json:
    entities = [
        {
            "name": change.entity,
            "id": change.id,
            "operation": change.operation,
            "lastUpdated": stamp(now_ms, company.zone),
        }
        | ({"deletedId": extra["deletedId"]} if extra and change.operation == "Merge" else {})
        for change in changes
    ]
    event = {"realmId": company.realm, "dataChangeEvent": {"entities": entities}}
    return {"eventNotifications": [event]}


def _cloud_event(company: Company, change: Change, now_ms: int, extra: Json | None) -> Json:
    seconds = stamp(now_ms, company.zone)
    head, offset = seconds[:19], seconds[19:]
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": f"intuit.{uuid.uuid5(uuid.NAMESPACE_URL, company.realm).hex[:20]}",
        "type": f"qbo.{change.entity.lower()}.{_PAST[change.operation]}.v1",
        "datacontenttype": "application/json",
        "time": f"{head}.{now_ms % 1000:03d}000000{offset}",
        "intuitentityid": change.id,
        "intuitaccountid": company.realm,
        "data": extra if extra and change.operation == "Merge" else {},
    }
