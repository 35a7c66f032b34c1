"""The plan of a Sync Now as its page shows it. Pure."""

from __future__ import annotations

from typing import Any

from replica.server.plans import Plan, deletions, lost, overridden
from replica.server.web import words
from replica.server.web.marks import order_mark

_DEVICE_WORDS = {"online": "online", "offline": "offline", "never": "never seen"}


def plan_page(plan: Plan) -> dict[str, Any]:
    """A plan: three figures, what goes, what comes, what it costs."""
    behind = sum(row.behind or 0 for row in plan.devices)
    return {
        "id": plan.id,
        "made_ms": plan.made_ms,
        "by": plan.by,
        "position": f"{plan.position:,}",
        "lanes": [
            {
                "title": "Known to be on devices",
                "icon": "phone",
                "figure": f"{plan.held:,}",
                "text": f"not sent yet; {words.count(behind, 'event')} to fetch there",
            },
            {
                "title": "To QuickBooks",
                "icon": "book",
                "figure": f"{plan.pushed:,}",
                "text": f"{plan.staying:,} more wait for somebody",
            },
            {
                "title": "From QuickBooks",
                "icon": "book",
                "figure": f"{plan.pulled:,}" if plan.outlook.at_ms else "?",
                "text": plan.outlook.text,
            },
        ],
        "devices": [
            {
                "name": row.name,
                "text": _DEVICE_WORDS.get(row.state, row.state),
                **_held(row.pending),
            }
            for row in plan.devices
        ],
        "pushed": [
            {
                "name": f"{row.entity} {row.number}".strip(),
                "customer": row.customer,
                "amount": ""
                if row.amount_minor is None
                else words.money(row.amount_minor, row.currency),
                "becomes": row.becomes,
                "mark": order_mark(row.state),
                "foreseen": row.foreseen,
            }
            for row in plan.rows
        ],
        "unnamed": sum(number for _, number in plan.counts) - len(plan.rows),
        "pulled": [
            {
                "name": one.name or one.local_id,
                "becomes": one.becomes,
                "text": ", ".join(one.changes),
            }
            for one in plan.outlook.rows
        ],
        "costs": [
            {"title": title, "texts": list(texts)}
            for title, texts in (
                ("Overridden there", overridden(plan)),
                ("Deleted", deletions(plan)),
                ("Edits that are lost", lost(plan)),
            )
        ],
    }


def _held(pending: int | None) -> dict[str, str]:
    known = "what it holds is not known"
    return {"held": known if pending is None else f"{words.count(pending, 'event')} to send"}
