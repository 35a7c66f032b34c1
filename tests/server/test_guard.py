"""Checks before a change: where it came from, and whether its form is ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from replica.errors import Forbidden
from replica.server.guard import (
    check_form_token,
    check_same_origin,
    form_token,
    origin_allowed,
)

ALLOWED = frozenset({"https://orders.example"})


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example", "host": "orders.example"},
        {"origin": "null", "host": "orders.example"},
        {"origin": "https://orders.example.evil.example", "host": "orders.example"},
        {"origin": "https://orders.example:444", "host": "orders.example"},
        {"origin": "", "host": ""},
    ],
)
def test_a_request_from_elsewhere_is_refused(headers: dict[str, str]) -> None:
    """A browser's own word decides where a change came from (reliability §2.4 CSRF)."""
    with pytest.raises(Forbidden):
        check_same_origin(Headers(headers), ALLOWED)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {
            "sec-fetch-site": "same-origin",
            "origin": "http://localhost:8080",
            "host": "localhost:8080",
        },
        {"sec-fetch-site": "none"},
        {"origin": "https://ORDERS.example", "host": "internal:8080"},
    ],
)
def test_a_request_from_our_own_page_passes(headers: dict[str, str]) -> None:
    """Our page, directly or behind a proxy that we were told of, is let through."""
    check_same_origin(Headers(headers), ALLOWED)


@given(session=st.text(), other=st.text())
def test_a_form_token_belongs_to_its_session(session: str, other: str) -> None:
    """No session's token opens another session's forms (reliability I-17)."""
    check_form_token(session, form_token(session))
    if session != other:
        with pytest.raises(Forbidden):
            check_form_token(session, form_token(other))


@given(origin=st.text(max_size=40))
def test_any_origin_has_an_answer(origin: str) -> None:
    """No header breaks the check; whoever is not known is not let in."""
    try:
        allowed = origin_allowed(origin, "orders.example", ALLOWED)
    except ValueError:
        pytest.fail("an origin broke the check")
    assert not allowed or "orders.example" in origin.lower()
