"""A failing queue to learn on: what an error looks like, and what each button would do. Pure.

Nothing here is stored or sent; the lesson follows the address alone (QB-29).
"""

from __future__ import annotations

from typing import NamedTuple

from replica.sink import Offer, QueueRow


class Lesson(NamedTuple):
    """One page of the lesson."""

    step: str
    text: str
    rows: tuple[QueueRow, ...]


_RETRY, _REMOVE = Offer("retry", "Try again", "primary"), Offer("exclude", "Remove", "danger")
_BACK, _FIX = Offer("include", "Put back", "primary"), Offer("fix", "Give it another name")

_CUSTOMER = QueueRow(
    position=1,
    entity="Customer",
    local_type="customer",
    local_id="practice-c",
    number="",
    customer="Harbour Deli",
    amount_minor=None,
    currency="",
    state="needs_you",
    reason="",
    attempts=1,
    becomes="new, or linked when it is there",
    code="6240",
    cause="QuickBooks has a record of this name already.",
    fix="Link the two, or give one of them another name, and press Sync Now.",
    detail="Duplicate Name Exists Error: The name supplied already exists.",
    tries="try 1 of 3; after the last one we try to correct it ourselves",
    trouble="data",
    offers=(_FIX, _RETRY, _REMOVE),
)
_ORDER = QueueRow(
    position=2,
    entity="Estimate",
    local_type="order",
    local_id="practice-o",
    number="A-0001",
    customer="Harbour Deli",
    amount_minor=12_550,
    currency="USD",
    state="waiting_on",
    reason="waits for customer Harbour Deli",
    attempts=0,
    becomes="new, Accepted",
)
_OTHER = QueueRow(
    position=3,
    entity="Estimate",
    local_type="order",
    local_id="practice-p",
    number="A-0002",
    customer="Corner Cafe",
    amount_minor=4_200,
    currency="USD",
    state="queued",
    reason="",
    attempts=0,
    becomes="new, Accepted",
)


def page(did: str) -> Lesson:
    """What the queue looks like after the reader pressed ``did``; the beginning for anything
    else."""
    return _LESSONS.get(did, _BEGIN)


def _with(row: QueueRow, **values: object) -> QueueRow:
    return QueueRow(**{name: getattr(row, name) for name in row.__dataclass_fields__} | values)


_BEGIN = Lesson(
    "1",
    "The Sync button shows a cross. The row that failed stands first and says why, in words. The "
    "order of the same customer waits for it; the order of another customer does not. Press one of "
    "the buttons to see what each does.",
    (_CUSTOMER, _ORDER, _OTHER),
)
_LESSONS = {
    "retry": Lesson(
        "2",
        "Trying again without a change meets the same fault. It costs none of the three tries of "
        "the schedule. After the third, the one correction that is safe here is tried: the name "
        "with (2) behind it. It is recorded and can be taken back.",
        (_with(_CUSTOMER, tries="tried 3 times; the next sync tries to correct it"), _ORDER),
    ),
    "exclude": Lesson(
        "2",
        "The row is out of the queue and kept under Excluded. Its order goes on waiting, and says "
        "for what. Put back takes it in again.",
        (
            _with(_ORDER, position=1, reason="waits for customer Harbour Deli, which is excluded"),
            _with(
                _CUSTOMER,
                position=2,
                state="excluded",
                code="",
                cause="",
                fix="",
                tries="",
                trouble="",
                offers=(_BACK,),
            ),
        ),
    ),
    "include": _BEGIN,
    "fix": Lesson(
        "2",
        "With another name the customer is sent by the next sync, its order right behind it, and "
        "the button shows a check again. That was all.",
        (
            _with(
                _CUSTOMER,
                customer="Harbour Deli, Quay 4",
                state="queued",
                code="",
                cause="",
                fix="",
                tries="",
                trouble="",
                offers=(),
            ),
            _with(_ORDER, customer="Harbour Deli, Quay 4", state="queued", reason=""),
        ),
    ),
}
