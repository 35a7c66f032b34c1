"""From a form to an event: what was changed on the page, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from replica.errors import Malformed
from replica.events.payloads import Address
from replica.server.web.forms import customer_change
from replica.server.web.views import CUSTOMER_FIELDS, customer_values

NAMES = [name for name, *_ in CUSTOMER_FIELDS]


def seen(**fields: Any) -> dict[str, Any]:
    return {"id": "c-1", "fields": {"name": "Acme", "address": None, **fields}}


def shown(view: dict[str, Any]) -> dict[str, str]:
    """The form as the page shows it, with what it had shown."""
    values = customer_values(view)
    return {**values, **{f"was.{name}": value for name, value in values.items()}}


def test_an_untouched_form_writes_nothing() -> None:
    """Saving without a change is no event (CON-01)."""
    view = seen(phone="1", address={"line1": "Shore Road", "city": "Duluth"})
    assert customer_change(view, shown(view)) is None


def test_only_the_changed_field_is_written() -> None:
    """An edit of one field does not take back somebody else's edit of another (CON-01)."""
    old = shown(seen(phone="1", email="a@b.c"))
    by_now = seen(phone="1", email="new@b.c", name="Renamed meanwhile")
    change = customer_change(by_now, old | {"phone": "2"})
    assert change is not None
    assert change.fields.phone == "2"
    assert change.fields.email is UNSET
    assert change.fields.name is UNSET


def test_an_emptied_field_is_unset() -> None:
    """Clearing a field says so, it does not write an empty text (P51)."""
    view = seen(phone="1")
    change = customer_change(view, shown(view) | {"phone": "  "})
    assert change is not None
    assert change.fields.phone is None


def test_an_address_is_written_whole() -> None:
    """The parts of an address that were not edited stay as they are."""
    view = seen(address={"line1": "Shore Road", "city": "Duluth"})
    change = customer_change(view, shown(view) | {"address.city": "Ely"})
    assert change is not None
    assert change.fields.address == Address(line1="Shore Road", city="Ely")
    cleared = customer_change(view, shown(view) | {"address.city": "", "address.line1": ""})
    assert cleared is not None
    assert cleared.fields.address is None


@pytest.mark.parametrize("name", ["", "   "])
def test_a_customer_keeps_a_name(name: str) -> None:
    """A customer without a name is not made by accident."""
    with pytest.raises(Malformed):
        customer_change(seen(), shown(seen()) | {"name": name})


@given(form=st.dictionaries(st.sampled_from([*NAMES, "was.phone", "x"]), st.text(max_size=600)))
def test_any_form_is_a_change_or_a_typed_refusal(form: dict[str, str]) -> None:
    """No form breaks the page (reliability I-20)."""
    try:
        change = customer_change(seen(), form)
    except Malformed:
        return
    assert change is None or change.customer == "c-1"
