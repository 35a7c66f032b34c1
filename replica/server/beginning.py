"""What a new device begins with (CFG-05): the account's policy, and beyond it the wish of a code.

A policy is ``all``, the default, or ``selected``: nothing but what its wish names. The scope that
follows from both is written with the token of the device, so that none is ever without bounds
before its first scope (decision 0014).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from replica.errors import Malformed
from replica.events.event import UUID_BYTES, DeviceId
from replica.events.kinds import REGISTRY
from replica.events.payloads import DeviceScoped
from replica.server.scopes import Wish

LISTS = ("customers", "prospects", "products")
_NOBODY = DeviceId(bytes(UUID_BYTES))

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Wish).decode


class Policy(msgspec.Struct, forbid_unknown_fields=True):
    """What every new device of an account begins with, unless its code says otherwise."""

    policy: Literal["all", "selected"]
    wish: Wish = msgspec.field(default_factory=Wish)

    def stored(self) -> bytes | None:
        """As the store keeps it. Raises ``Malformed`` for ``all`` with a wish."""
        if self.policy == "selected":
            return _encode(_named(self.wish))
        if self.wish != Wish():
            raise Malformed("the policy `all` has no wish", hint="say `selected`")
        return None


def policy_of(stored: bytes | None) -> Policy:
    """The policy as the store has it."""
    return Policy("all") if stored is None else Policy("selected", _decode(stored))


def encode_wish(wish: Wish) -> bytes:
    """As the store keeps it."""
    return _encode(wish)


def first_scope(device: DeviceId, wishes: Iterable[bytes], now_ms: int) -> DeviceScoped:
    """The scope, version 1, that the stored ``wishes`` give a device, one upon the other."""
    scope = DeviceScoped(device.hex(), 0)
    for wish in wishes:
        scope = _decode(wish).after(scope, now_ms)
    return msgspec.structs.replace(scope, version=1)


def check(wishes: Iterable[bytes], now_ms: int) -> DeviceScoped:
    """What a device would begin with. Raises what no scope can say: ``Malformed``, ``TooLarge``."""
    scope = first_scope(_NOBODY, wishes, now_ms)
    REGISTRY.say(scope)
    return scope


def _named(wish: Wish) -> Wish:
    """``wish`` with the lists it leaves out as empty ones."""
    empty: dict[str, Any] = {name: [] for name in LISTS if getattr(wish, name) is UNSET}
    return msgspec.structs.replace(wish, **empty)
