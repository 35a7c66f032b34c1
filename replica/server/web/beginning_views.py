"""What a new device holds at first, as the devices page asks for it and says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from replica.errors import Malformed
from replica.events.payloads import DeviceScoped
from replica.server.beginning import LISTS, Policy
from replica.server.scoped import granted
from replica.server.scopes import Wish
from replica.server.web import words
from replica.store.access import Device

_AS = "as."
_LISTS: Mapping[str, Mapping[str, Any]] = {
    "": {},
    "all": dict.fromkeys(LISTS, "all"),
    "products": {"customers": [], "prospects": [], "products": "all"},
    "nothing": {name: [] for name in LISTS},
}


def choices(devices: Sequence[Device]) -> list[tuple[str, str]]:
    """What can be chosen, as values and words; the choices of a device are copied."""
    fixed = [
        ("all", "everything"),
        ("products", "all products, no customers"),
        ("nothing", "nothing, until it is chosen"),
    ]
    in_use = [one for one in devices if one.revoked_ms is None and one.scope is not None]
    return fixed + [(_AS + one.device.hex(), f"the same as {one.name}") for one in in_use]


def wish_of(form: Mapping[str, str], devices: Sequence[Device]) -> Wish:
    """What a form asks for. Raises ``Malformed`` for what it does not offer."""
    asked = dict(_chosen(form.get("begins", ""), devices))
    if form.get("orders"):
        asked["orders"] = form["orders"]
    if "locked" in form:
        asked["locked"] = True
    try:
        return msgspec.convert(asked, Wish)
    except msgspec.ValidationError as error:
        raise Malformed(f"Not saved: {error}") from error


def policy_of(form: Mapping[str, str], devices: Sequence[Device]) -> Policy:
    """The policy that a form asks for. Raises ``Malformed``."""
    if not form.get("begins"):
        raise Malformed("Choose what new devices hold at first.")
    wish = wish_of(form, devices)
    plain = {"", "team"}.issuperset([form.get("orders", "")]) and "locked" not in form
    if form.get("begins") == "all" and plain:
        return Policy("all")
    return Policy("selected", wish)


def policy_words(policy: Policy) -> str:
    """A policy in one sentence."""
    if policy.policy == "all":
        return "A new device holds everything."
    scope = policy.wish.after(DeviceScoped("", 0), 0)
    said = [_held(name, getattr(scope, name)) for name in LISTS]
    said.append("only its own orders" if scope.orders == "own" else "the orders of the team")
    sentence = f"A new device holds {', '.join(said)}"
    if scope.until_ms:
        sentence += f", for {words.count(max(1, scope.until_ms // 86_400_000), 'day')}"
    return f"{sentence}{'; only the office changes it' if scope.locked else ''}."


def _chosen(begins: str, devices: Sequence[Device]) -> Mapping[str, Any]:
    if begins in _LISTS:
        return _LISTS[begins]
    for device in devices:
        if begins == _AS + device.device.hex():
            scope = granted(device)
            lists = {name: getattr(scope, name) for name in LISTS}
            asked = {name: "all" if ids is None else ids for name, ids in lists.items()}
            return {**asked, "orders": scope.orders}
    raise Malformed("Choose what the device holds at first.")


def _held(name: str, chosen: tuple[str, ...] | None) -> str:
    if chosen is None:
        return f"all {name}"
    return words.count(len(chosen), name.removesuffix("s")) if chosen else f"no {name}"
