"""What can be done about an event that is not in the log, in words; the same at both ends.

The author's device and the office show one row with one cause and one fix (wire-protocol.md §5).
"""

from __future__ import annotations

from types import MappingProxyType

REMEDIES = MappingProxyType(
    {
        "payload": "Correct it on the device that wrote it and say it again; what waits on it "
        "goes along.",
        "waits_on": "Correct the event it waits on; this one is said again with it.",
        "malformed": "The program that wrote it has a fault: update it. The work stays on the "
        "device.",
        "too_large": "Divide it into smaller pieces on the device that wrote it.",
        "forbidden": "Whoever wrote it may not say this: somebody who may has to.",
    }
)


def fix(code: str) -> str:
    """What to do about an event that was set aside with ``code``; never empty."""
    return REMEDIES.get(code, "Ask whoever looks after the server; the event is kept.")
