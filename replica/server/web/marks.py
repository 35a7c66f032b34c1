"""One vocabulary of states for every page, list and answer: a name, a word, an icon and a tone.

A state is never shown by colour alone (ui.md §2). The names are those that sinks and read models
use, so that ``data-state`` on a page, ``state`` in the API and a row of a queue say the same.
"""

from __future__ import annotations

from typing import NamedTuple


class Mark(NamedTuple):
    """How one state looks. ``tone`` is a class of the style sheet: ok, wait, warn, bad, info."""

    name: str
    text: str
    icon: str
    tone: str


ORDER_MARKS = {
    mark.name: mark
    for mark in (
        Mark("draft", "Draft", "pencil", ""),
        Mark("on_device", "On the device", "phone", "wait"),
        Mark("uploading", "Uploading", "cloud", "wait"),
        Mark("on_server", "On server", "cloud", "info"),
        Mark("queued", "Queued", "list", "wait"),
        Mark("waiting_on", "Waiting for another", "link", "wait"),
        Mark("sending", "Sending", "spinner", "wait"),
        Mark("in_qbo", "In QuickBooks", "check", "ok"),
        Mark("retrying", "Will retry", "retry", "warn"),
        Mark("needs_you", "Needs attention", "cross", "bad"),
        Mark("autofixing", "Being corrected", "wrench", "warn"),
        Mark("excluded", "Excluded", "minus", ""),
        Mark("invoiced", "Invoiced", "receipt", "ok"),
        Mark("rejected", "Not accepted", "stop", "bad"),
        Mark("cancelled", "Cancelled", "minus", ""),
        Mark("withdrawn", "Withdrawn", "minus", ""),
        Mark("unknown", "Not here yet", "clock", ""),
    )
}
CONNECTION_MARKS = {
    mark.name: mark
    for mark in (
        Mark("healthy", "Working", "check", "ok"),
        Mark("running", "Running", "spinner", "wait"),
        Mark("late", "Late", "clock", "warn"),
        Mark("overdue", "Overdue", "clock", "bad"),
        Mark("failing", "Failing, will retry", "retry", "warn"),
        Mark("stopped", "Stopped, needs you", "cross", "bad"),
        Mark("manual", "By hand only", "clock", "info"),
        Mark("not_connected", "Not connected", "plug", ""),
        Mark("reconnect_needed", "Reconnect needed", "plug", "bad"),
    )
}
ONLINE = Mark("online", "Online", "check", "ok")
OFFLINE = Mark("offline", "Offline", "clock", "")
NEVER = Mark("never", "Never seen", "phone", "")
REVOKED = Mark("revoked", "Revoked", "stop", "bad")
EQUAL = Mark("equal", "Equal", "check", "ok")
DIFFERS = Mark("differs", "Differs", "cross", "bad")
UNPROVEN = Mark("unproven", "Not asked", "clock", "")
RUNNING = Mark("running", "Running", "spinner", "wait")
DONE = Mark("done", "Done", "check", "ok")
ATTENTION = Mark("needs_you", "Needs attention", "cross", "bad")


def order_mark(name: str) -> Mark:
    """The mark of an order's state; a state from a newer version shows as its own name."""
    return ORDER_MARKS.get(name, Mark(name, name.replace("_", " "), "info", ""))


def connection_mark(name: str) -> Mark:
    """The mark of a sink's connection."""
    return CONNECTION_MARKS.get(name, Mark(name, name.replace("_", " "), "info", ""))
