"""A row of the queue as people see it: its state in one word, why, and what may be done. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qbo_sink import corrections, faults
from qbo_sink.catalogue import PREFLIGHT
from qbo_sink.model import (
    CONVERTED,
    DEFAULTS,
    INVOICE,
    UNKNOWN_OUTCOME,
    Entity,
    Errand,
    Op,
    Party,
    Product,
    Sale,
    State,
    Wanted,
)
from qbo_sink.plan import Intent, Step, describe
from qbo_sink.queue_store import Corrected
from replica.limits import QBO_CYCLES_MAX
from replica.sink import Correction, Offer, QueueRow

_STATES = {
    State.PARKED: "needs_you",
    State.FAULTED: "retrying",
    State.EXCLUDED: "excluded",
    State.IN_FLIGHT: "sending",
    State.IN_DOUBT: "retrying",
}
_FAILING = (State.PARKED, State.FAULTED)
RETRY = Offer("retry", "Try again", "primary")
INCLUDE = Offer("include", "Put back", "primary")
ONLY = Offer("only", "Sync only this")
BOTTOM = Offer("bottom", "Move to bottom")
UNDO = Offer("undo", "Undo")
SAME = Offer("same", "It is the same", "primary")
APART = Offer("apart", "Keep apart")


def row_id(intent: Intent) -> str:
    """How a row is named to the outside."""
    return f"row:{intent.id}"


def document(wanted: Wanted | None, name_of: Callable[[str], str]) -> tuple[str, str]:
    """Number and name of a document; ``name_of`` gives a customer's name by its id."""
    if isinstance(wanted, Sale):
        return wanted.content.number, name_of(wanted.content.customer)
    if isinstance(wanted, Errand):
        return wanted.number, name_of(wanted.customer)
    return "", "" if wanted is None else wanted.name


def to_row(
    position: int,
    step: Step,
    wanted: Wanted | None,
    *,
    name_of: Callable[[str], str],
    dependants: Sequence[str] = (),
    changes: Sequence[str] = (),
    foreseen: Sequence[str] = (),
    tax: str = "",
) -> QueueRow:
    """One row. ``dependants`` are the rows that wait for it, in words."""
    intent = step.intent
    number, customer = document(wanted, name_of)
    sale = wanted.content if isinstance(wanted, Sale) else None
    failing = intent.state in _FAILING
    return QueueRow(
        position=position,
        entity=intent.key.entity.record,
        local_type=intent.key.local_type,
        local_id=intent.key.local_id,
        number=number,
        customer=customer,
        amount_minor=None if sale is None else sale.total_minor,
        currency="" if sale is None else sale.currency,
        state=shown_state(step),
        reason=_reason(step),
        attempts=intent.cycles,
        id=row_id(intent),
        becomes=_becomes(intent, wanted),
        since_ms=intent.queued_ms,
        next_ms=step.due_ms or 0,
        code=intent.code if failing else "",
        cause=intent.cause if failing else "",
        fix=intent.fix if failing else "",
        detail=intent.detail if failing or intent.state in UNKNOWN_OUTCOME else "",
        tries=tries(intent),
        trouble=trouble(intent),
        changes=changes,
        foreseen=() if failing else foreseen,
        tax=tax,
        offers=offers(intent, dependants),
    )


def _becomes(intent: Intent, wanted: Wanted | None) -> str:
    if isinstance(wanted, Errand):
        closes = intent.key.entity is Entity.CLOSING
        return "closed, as it is invoiced" if closes else f"e-mailed to {wanted.address}"
    if intent.op is Op.REJECT:
        return "marked as rejected"
    if intent.op is Op.UPDATE:
        return "changed"
    if isinstance(wanted, Sale):
        return _NEW.get(intent.form, f"new, {intent.form or DEFAULTS.form(wanted.type)}")
    return "new, or linked when it is there" if isinstance(wanted, Party | Product) else "new"


_NEW = {INVOICE: "new", CONVERTED: "new, made of its estimate"}


def shown_state(step: Step) -> str:
    """One of the states of ui.md §2."""
    intent = step.intent
    if intent.state is State.FAULTED and (intent.code in PREFLIGHT or not intent.cycles):
        return "needs_you"
    if intent.state is State.FAULTED and intent.cycles >= QBO_CYCLES_MAX:
        return "autofixing"
    if step.waits_for is not None:
        return "waiting_on"
    return _STATES.get(intent.state, "queued")


def trouble(intent: Intent) -> str:
    """What kind of trouble a row is in: one that passes, or one that somebody ends (QB-22)."""
    if intent.state in _FAILING:
        return "data"
    temporary = intent.state is State.IN_DOUBT or (intent.due_ms > 0 and intent.cause)
    return "temporary" if temporary else ""


def tries(intent: Intent) -> str:
    """Which try it was and what comes after the last unchanged one (QB-23)."""
    if intent.state is State.PARKED:
        corrected = " and corrected once" if intent.corrections else ""
        return f"tried{corrected}; it waits for you" if intent.cycles else "it waits for you"
    if intent.state is not State.FAULTED or not intent.cycles:
        return ""
    if intent.cycles >= QBO_CYCLES_MAX:
        return f"tried {QBO_CYCLES_MAX} times; the next sync tries to correct it"
    family = faults.family_of(intent.code, intent.detail)
    rule = corrections.rule_for(intent.code, family, intent.key.entity)
    then = "we try to correct it ourselves" if rule else "it waits for you"
    return f"try {intent.cycles} of {QBO_CYCLES_MAX}; after the last one {then}"


def _reason(step: Step) -> str:
    intent = step.intent
    if intent.state not in _FAILING:
        return step.reason
    said = f"({tries(intent)})" if intent.state is State.FAULTED and intent.cycles else ""
    detail = f"QuickBooks says: {intent.detail}" if intent.detail else ""
    return " ".join(part for part in (intent.cause, said, intent.fix, detail) if part)


def offers(intent: Intent, dependants: Sequence[str]) -> tuple[Offer, ...]:
    """What may be done with a row as it stands; nothing while its outcome is unknown."""
    if intent.state in UNKNOWN_OUTCOME:
        return ()
    if intent.state is State.EXCLUDED:
        return (INCLUDE,)
    warns = ""
    if dependants:
        shown = ", ".join(dependants[:5]) + (" and more" if len(dependants) > 5 else "")
        warns = f"Without it these wait: {shown}."
    remove = Offer("exclude", "Remove", "danger", warns=warns)
    if intent.code == "same_name" and intent.state in _FAILING:
        return (SAME, APART, remove)
    if intent.state in _FAILING:
        return (RETRY, ONLY, remove)
    return (ONLY, BOTTOM, remove)


_RULES = {
    "other_name": "sent under a name that is free",
    "shorter_texts": "long texts shortened; the whole ones stay here",
    "plain_characters": "characters that QuickBooks does not take replaced",
    "exact_amounts": "amounts computed anew from quantity and price, a cent at most",
    "tax_codes_again": "tax settings read again and tax codes put anew",
    "fresh_references": "customers and items looked up again and linked anew",
    "without_email": "sent without the e-mail address",
    "without_custom_fields": "sent without the custom fields",
}


def to_correction(corrected: Corrected, name: str) -> Correction:
    """An automatic correction; one that was taken back says by whom."""
    text = _RULES.get(corrected.rule, corrected.rule)
    if corrected.undone_ms:
        text = f"{text}; taken back by {corrected.undone_by or 'somebody'}"
    return Correction(
        id=f"correction:{corrected.id}",
        at_ms=corrected.at_ms,
        record=name or describe(corrected.key),
        rule=corrected.rule,
        text=text,
        before=corrected.before,
        after=corrected.after,
        offers=() if corrected.undone_ms else (UNDO,),
    )


def support_text(
    row: QueueRow, realm: str, requestid: str, calls: Sequence[Mapping[str, object]]
) -> str:
    """What support asks for, without anything secret (QB-26)."""
    lines = [
        f"company {realm}",
        f"document {row.local_type} {row.local_id}, number {row.number or 'none'}",
        f"operation {row.becomes} {row.entity}, state {row.state}",
        f"code {row.code or 'none'}: {row.cause} {row.detail}".strip(),
        f"request id {requestid or 'none yet'}",
    ]
    lines += [
        "call {started}: {outcome}, HTTP {status}, code {code}, intuit_tid {trace}".format(**call)
        for call in calls
    ]
    return "\n".join(lines)
