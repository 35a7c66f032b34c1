"""What an author may say, checked before it is stored as the door will check it. Pure.

The door would refuse a mistake later, far from where it was made; here the program that made it is
told at once, and nothing was saved.
"""

from __future__ import annotations

from collections.abc import Mapping

from replica.crdt.fold import about, document_key
from replica.device.chain import Fact
from replica.errors import Malformed, MisuseError
from replica.events.event import Event, check_event
from replica.events.kinds import ANYBODY, REGISTRY, Said, decode_payload
from replica.events.payloads import Payload
from replica.events.record import Origin


def say(payload: Payload) -> Said:
    """``payload`` as it will be stored. Raises ``MisuseError`` for one that breaks a rule of its
    kind, whatever its fields were given, or is not a device's to say."""
    try:
        said = REGISTRY.say(payload)
    except Malformed as error:
        raise MisuseError(str(error)) from error
    if said.kind.origins is not ANYBODY and Origin.DEVICE not in said.kind.origins:
        raise MisuseError(f"{said.kind.name} is not a device's to say")
    return said


def correct(event: Event, payload: Payload, renamed: Mapping[bytes, bytes]) -> Fact:
    """The fact that takes the place of ``event``: about the same document, so that whoever refers
    to it stays right. ``renamed`` are ids of events that were said again (old id to new).

    Raises ``MisuseError`` as :func:`say`, and for another kind or another document.
    """
    kind, body, payload = say(payload)
    meant = about(event)
    if kind.name != event.kind or (meant is not None and meant != document_key(payload)):
        raise MisuseError(
            "a correction says the same kind of thing about the same document",
            hint=f"give a corrected {event.kind}",
        )
    # Causes are those of the old event. What was appended to the document since may wait on
    # the old event, and the correction must not wait on that.
    return Fact(kind.name, kind.version, body, tuple(renamed.get(dep, dep) for dep in event.deps))


def check(event: Event) -> None:
    """Raise ``MisuseError`` as the door would refuse ``event``, envelope and all."""
    try:
        check_event(event)
        decode_payload(event)
    except Malformed as error:
        raise MisuseError(str(error)) from error
