"""OAuth 2: codes, tokens, rotation with grace, revocation, and who is let in."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from qbo_sink.sandbox.oauth import AUTHORIZE, REVOKE, TOKEN
from tests.qbo_sink.sandbox.desk import Answer, Desk

DAY_MS = 86_400_000
BASIC = "Basic " + base64.b64encode(b"sandbox-client:sandbox-secret").decode()
ASKED = {
    "client_id": "sandbox-client",
    "scope": "com.intuit.quickbooks.accounting",
    "redirect_uri": "https://client.invalid/back",
    "response_type": "code",
    "state": "s1",
}


def _token(desk: Desk, **form: str) -> Answer:
    return desk.ask("POST", TOKEN, data=form, headers={"Authorization": BASIC})


def _refresh(desk: Desk, token: str) -> Answer:
    return _token(desk, grant_type="refresh_token", refresh_token=token)


def _consent(desk: Desk, decision: str) -> dict[str, list[str]]:
    data = {"decision": decision, "realm": desk.realm}
    answer = desk.ask("POST", AUTHORIZE, params=ASKED, data=data)
    assert answer.status == 302
    return parse_qs(urlsplit(answer.headers["location"]).query)


def test_discovery_names_every_endpoint_on_the_host_that_was_asked(desk: Desk) -> None:
    """A client that knows only the discovery address finds the rest (issue 4, point 1)."""
    for path in ("openid_configuration", "openid_sandbox_configuration/"):
        found = desk.ask("GET", f"/.well-known/{path}").json
        assert found["token_endpoint"] == "http://sandbox" + TOKEN
        assert found["revocation_endpoint"] == "http://sandbox" + REVOKE


def test_consent_gives_a_code_that_works_once_and_kills_the_grant_when_reused(desk: Desk) -> None:
    """A code is single use; exchanging it twice ends the connection (section 1.2)."""
    assert b"Connect" in desk.ask("GET", AUTHORIZE, params=ASKED).content
    back = _consent(desk, "connect")
    assert back["state"] == ["s1"]
    assert back["realmId"] == [desk.realm]
    form = {"grant_type": "authorization_code", "code": back["code"][0]}
    form["redirect_uri"] = ASKED["redirect_uri"]
    first = _token(desk, **form)
    assert first.json["expires_in"] == 3600
    assert first.json["x_refresh_token_expires_in"] == 8_726_400
    assert first.json["token_type"] == "bearer"
    assert _token(desk, **form).json["error"] == "invalid_grant"
    assert _refresh(desk, first.json["refresh_token"]).json["error"] == "invalid_grant"


def test_consent_refused_goes_back_with_access_denied(desk: Desk) -> None:
    """The user's no reaches the application as an error with its state."""
    back = _consent(desk, "deny")
    assert back == {"error": ["access_denied"], "state": ["s1"]}


def test_auto_approve_redirects_without_a_page(open_desk: Callable[..., Desk]) -> None:
    """A script can connect without a browser when the switch is on."""
    desk = open_desk(auto_approve=True)
    assert desk.ask("GET", AUTHORIZE, params=ASKED).status == 302


@pytest.mark.parametrize("change", [{"client_id": "x"}, {"redirect_uri": "ftp://x"}, {"scope": ""}])
def test_wrong_authorize_request_is_told_to_the_user_not_redirected(
    desk: Desk, change: dict[str, str]
) -> None:
    """Nothing is sent to an address that was not checked."""
    assert desk.ask("GET", AUTHORIZE, params=ASKED | change).status == 400


def test_refresh_token_changes_after_a_day_and_the_old_one_lives_a_day_more(desk: Desk) -> None:
    """Rotation about every 24 hours with 24 hours of grace (section 1.2)."""
    first = desk.tokens["refresh_token"]
    assert _refresh(desk, first).json["refresh_token"] == first
    desk.now_ms += DAY_MS
    second = _refresh(desk, first).json["refresh_token"]
    assert second != first
    desk.now_ms += DAY_MS - 1_000
    assert _refresh(desk, first).json["refresh_token"] == second
    desk.now_ms += 1_000
    assert _refresh(desk, first).json["error"] == "invalid_grant"
    assert _refresh(desk, second).status == 200


def test_refresh_token_can_change_every_time(open_desk: Callable[..., Desk]) -> None:
    """The switch ``refresh_rotation=every`` gives a new value with each refresh (section 1.17)."""
    desk = open_desk(refresh_rotation="every", refresh_grace_s=0)
    first = desk.tokens["refresh_token"]
    assert _refresh(desk, first).json["refresh_token"] != first
    assert _refresh(desk, first).json["error"] == "invalid_grant"


def test_refresh_token_expires_after_101_days_without_use(desk: Desk) -> None:
    """The rolling life of a refresh token ends in invalid_grant."""
    desk.now_ms += 101 * DAY_MS
    assert _refresh(desk, desk.tokens["refresh_token"]).json["error"] == "invalid_grant"


def test_hard_life_is_told_on_request(desk: Desk) -> None:
    """The header of the five-year policy adds its field to the answer (section 1.2)."""
    form = {"grant_type": "refresh_token", "refresh_token": desk.tokens["refresh_token"]}
    headers = {"Authorization": BASIC, "x-include-refresh-token-hard-expires-in": "true"}
    answer = desk.ask("POST", TOKEN, data=form, headers=headers)
    assert answer.json["x_refresh_token_hard_expires_in"] == 5 * 365 * 86_400


def test_wrong_client_is_not_a_reason_to_reconnect(desk: Desk) -> None:
    """Bad credentials are invalid_client, never invalid_grant (section 1.2)."""
    form = {"grant_type": "refresh_token", "refresh_token": desk.tokens["refresh_token"]}
    answer = desk.ask("POST", TOKEN, data=form, headers={"Authorization": "Basic eDp5"})
    assert (answer.status, answer.json["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("shape", ["json", "data"])
def test_revoking_either_token_in_either_format_ends_the_connection(
    desk: Desk, kind: str, shape: str
) -> None:
    """The Python client sends JSON, the node client a form; both disconnect (section 1.2)."""
    body: dict[str, Any] = {shape: {"token": desk.tokens[kind]}}
    answer = desk.ask("POST", REVOKE, headers={"Authorization": BASIC}, **body)
    assert (answer.status, answer.content) == (200, b"")
    assert desk.get("preferences").status == 401
    assert _refresh(desk, desk.tokens["refresh_token"]).json["error"] == "invalid_grant"


def test_expired_access_token_is_401_in_the_lower_case_envelope(
    open_desk: Callable[..., Desk],
) -> None:
    """Envelope and code 3200 as seen in the field; the switch gives the other form."""
    desk = open_desk()
    desk.now_ms += 3_600_000
    body = desk.get("preferences")
    assert body.status == 401
    assert body.json["fault"]["error"][0]["code"] == "3200"
    assert body.json["fault"]["type"] == "AUTHENTICATION"
    assert body.json["batchItemResponse"] == []
    desk.control("switches", {"auth_envelope": "upper"}, "PUT")
    assert desk.get("preferences").codes == [3200]


def test_token_of_another_realm_is_403(desk: Desk) -> None:
    """A valid token on a company it was not given for is 3100 of kind SERVICE (section 1.2)."""
    desk.control("realms", {"realm": "9130000000000000009"})
    answer = desk.ask("GET", "/v3/company/9130000000000000009/preferences", headers=desk.headers)
    assert (answer.status, answer.codes) == (403, [3100])
    assert answer.json["Fault"]["type"] == "SERVICE"
