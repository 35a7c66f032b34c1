"""From a submitted form to what an event says. Pure: only what the user changed is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from replica.errors import Malformed
from replica.events.payloads import CustomerChanged, CustomerFields
from replica.server.web.views import CUSTOMER_FIELDS, customer_values


def customer_change(seen: Mapping[str, Any], form: Mapping[str, str]) -> CustomerChanged | None:
    """The change that ``form`` asks for; None when there is none.

    A field counts as changed when it differs from what the form had shown (``was.<field>``), not
    from what is stored by now: an edit of the phone number must not take back somebody else's edit
    of the name (requirements CON-01). An emptied field is unset. Raises ``Malformed``.
    """
    wanted = {
        name: _clean(form[name])
        for name, *_ in CUSTOMER_FIELDS
        if name in form and _clean(form[name]) != form.get(f"was.{name}", "")
    }
    if not wanted:
        return None
    if wanted.get("name") == "":
        raise Malformed("A customer needs a name.")
    place = {name: text for name, text in wanted.items() if name.startswith("address.")}
    fields: dict[str, Any] = {name: wanted[name] or None for name in wanted.keys() - place.keys()}
    if place:
        # An address is one register: the parts that were not edited stay as they are.
        known = customer_values(seen) | place
        parts = {name.split(".")[1]: known[name] for name in known if name.startswith("address.")}
        fields["address"] = parts if any(parts.values()) else None
    try:
        return CustomerChanged(customer=seen["id"], fields=msgspec.convert(fields, CustomerFields))
    except msgspec.ValidationError as error:
        raise Malformed(f"Not saved: {error}") from error


def _clean(text: str) -> str:
    return text.strip()
