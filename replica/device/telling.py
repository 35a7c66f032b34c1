"""From rows of the journal to what a user is told: what was rejected, how far an order has come."""

from __future__ import annotations

from typing import Any

from replica.crdt.fold import about
from replica.device.journal import OutboxRow, State
from replica.device.status import Ladder, Rejected
from replica.events.event import decode_event, event_id
from replica.sync.remedies import fix


def rejected(row: OutboxRow) -> Rejected:
    """An own event that was answered and is not in the log."""
    event = decode_event(row.data)
    key = about(event)
    answer = row.answer
    assert answer is not None, "only answered events are set aside"
    return Rejected(
        kind=event.kind,
        type=key.type if key else "",
        id=key.id if key else "",
        state=row.state.name.lower(),
        code=answer.code,
        reason=answer.detail,
        payload=event.payload,
        event=event_id(row.data),
        fix=fix(answer.code),
    )


def ladder(order: str, found: dict[str, Any] | None, own: list[OutboxRow]) -> Ladder:
    """The rungs from the document as it is seen here, and from this device's own seal."""
    seals = [row for row in own if decode_event(row.data).kind == "order.committed"]
    sealed = next((row for row in seals if row.state == State.ACKNOWLEDGED), None)
    waiting = next((row for row in seals if row.state == State.PENDING), None)
    aside = next((row for row in seals if row.state in {State.QUARANTINED, State.REFUSED}), None)
    position = sealed.answer.position if sealed and sealed.answer else None
    content = (found or {}).get("content") or {}
    answers: dict[str, Any] = (found or {}).get("answers") or {}
    system = min(answers, default="")
    said: dict[str, Any] = answers.get(system, {})
    if said.get("state") in {"estimated", "parked"}:
        state = said["state"]
        text = f"estimate {said.get('number', '')} in {system}"
        if state == "parked":
            text = f"{system} needs help: {said.get('cause', '')}"
    elif waiting is not None and sealed is None:
        state, text = "on_device", "saved on this device; it will be sent"
    elif aside is not None and sealed is None:
        reason = aside.answer.detail if aside.answer else ""
        state, text = "rejected", f"not on the server: {reason}"
    elif content:
        place = f", position {position}" if position else ""
        state, text = "on_server", f"safe on the server{place}"
    else:
        state, text = "unknown", "this device knows no such order"
    return Ladder(
        order,
        content.get("number", ""),
        bool(content),
        position,
        system,
        said.get("number", ""),
        state,
        text,
    )
