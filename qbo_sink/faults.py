"""What an outcome means: done, throttled, refused, expired, or unknown (architecture.md §7).

*Unknown* is a state of its own: the write may stand there or not, and only a look can tell
(:mod:`qbo_sink.doubt`). Everything that is not certainly one of the others is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

from qbo_sink.catalogue import CATALOGUE, FAMILIES, PREFLIGHT, UNKNOWN, Class, Entry
from qbo_sink.model import Entity, JsonObject
from qbo_sink.wire import Answer, Fault, Lost, Reply
from replica.limits import QBO_THROTTLE_PAUSE_MS


@dataclass(frozen=True)
class Done:
    """The write stands; ``row`` is the entity as stored there."""

    row: JsonObject


@dataclass(frozen=True)
class Throttled:
    """It was certainly not done and may be tried again, unchanged, after ``wait_ms``.

    The whole company waits, not this row alone; with a wait of zero only until the next run.
    """

    wait_ms: int
    code: str
    reason: str


@dataclass(frozen=True)
class Refused:
    """It was certainly not done, and the same request will not be: say why, in words."""

    kind: Class
    code: str
    cause: str
    fix: str
    detail: str = ""
    element: str = ""
    family: str = ""


@dataclass(frozen=True)
class Expired:
    """The access token was not accepted: refresh once and send again, then stop."""

    reason: str


@dataclass(frozen=True)
class Unknown:
    """It may have been done."""

    reason: str
    code: str = ""


Outcome = Done | Throttled | Refused | Expired | Unknown

_THROTTLE = 3001
_TOKEN = (3200, 3202)
_SEEN_BEFORE = 600
_SERVER_ERRORS = (1000, 1010, 1020, 4002, 10000)
_NOT_NOW = (130, 140, 150)
_CATCH_ALL = 6000
_RETRY_MS = 60_000


def classify(reply: Reply, entity: Entity | str) -> Outcome:
    """What became of a write. Total: any reply gives one of the five outcomes."""
    if isinstance(reply, Lost):
        if reply.sent:
            return Unknown(reply.reason)
        return Throttled(0, "unreachable", f"QuickBooks cannot be reached: {reply.reason}")
    if reply.faults:
        return _from_fault(reply)
    if reply.status == 401:
        return Expired(f"HTTP 401 {reply.excerpt}".strip())
    if reply.status == 429:
        return _throttled(reply)
    row = (reply.body or {}).get(str(entity))
    if 200 <= reply.status < 300 and isinstance(row, dict) and row.get("Id"):
        return Done(row)
    if reply.status == 403:
        return _refused(Fault(3100, f"HTTP 403 {reply.excerpt}".strip()))
    return Unknown(f"HTTP {reply.status} {reply.excerpt}".strip())


def preflight(code: str, detail: str = "") -> Refused:
    """A fault found before any call (``PREFLIGHT``)."""
    entry = PREFLIGHT[code]
    return Refused(entry.kind, code, entry.cause, entry.fix, detail)


def family_of(code: str, text: str) -> str:
    """The family of a refusal's text, "" for a code that speaks for itself."""
    return describe(Fault(int(code), text))[1] if code.isdecimal() else ""


def describe(fault: Fault) -> tuple[Entry, str]:
    """The catalogue's entry for ``fault`` and the family of its text, never blank (QB-19)."""
    if fault.code == _CATCH_ALL:
        text = f"{fault.message} {fault.detail}"
        for family in FAMILIES:
            if family.pattern.search(text):
                known = CATALOGUE[family.code]
                return Entry(family.kind, known.cause, known.fix), family.name
    return CATALOGUE.get(fault.code, UNKNOWN), ""


def _from_fault(answer: Answer) -> Outcome:
    fault = answer.faults[0]
    if fault.code == _THROTTLE or answer.status == 429:
        return _throttled(answer)
    if fault.code in _TOKEN or answer.status == 401:
        return Expired(fault.detail or fault.message)
    if fault.code in _NOT_NOW:
        return Throttled(_RETRY_MS, str(fault.code), CATALOGUE[fault.code].cause)
    # A repeated request id and an error of the server leave open whether it was done.
    if fault.code == _SEEN_BEFORE or fault.code in _SERVER_ERRORS or answer.status >= 500:
        return Unknown(_words(fault), str(fault.code))
    if describe(fault)[0].kind is Class.RETRY:
        return Unknown(_words(fault), str(fault.code))
    return _refused(fault)


def _refused(fault: Fault) -> Refused:
    entry, family = describe(fault)
    return Refused(
        kind=entry.kind,
        code=str(fault.code),
        cause=entry.cause,
        fix=entry.fix,
        detail=_words(fault),
        element=fault.element,
        family=family,
    )


def _throttled(answer: Answer) -> Throttled:
    asked = answer.retry_after_s
    wait_ms = QBO_THROTTLE_PAUSE_MS if asked is None else min(asked * 1000, 600_000)
    return Throttled(wait_ms, str(_THROTTLE), CATALOGUE[_THROTTLE].cause)


def _words(fault: Fault) -> str:
    parts = [part for part in (fault.message, fault.detail) if part]
    return ": ".join(dict.fromkeys(parts)) or "no reason was given"
