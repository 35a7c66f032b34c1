"""OAuth 2 routes: discovery, consent page, token, revoke, user info (section 1.2)."""

from __future__ import annotations

import base64
import hmac
from html import escape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from qbo_sink.sandbox import identity
from qbo_sink.sandbox.faults import Refused, new_tid
from qbo_sink.sandbox.grants import HARD_LIFE_S, Grant, InvalidGrant
from qbo_sink.sandbox.media import body_of
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import Json

AUTHORIZE = "/connect/oauth2"
TOKEN = "/oauth2/v1/tokens/bearer"  # noqa: S105 (a path)
REVOKE = "/v2/oauth2/tokens/revoke"
USERINFO = "/v1/openid_connect/userinfo"
JWKS = "/op/v1/jwks"
HARD_LIFE_HEADER = "x-include-refresh-token-hard-expires-in"
FORM_BYTES_MAX = 65_536
FIELDS_MAX = 50
_CODE_PARAMETERS = ("client_id", "scope", "redirect_uri", "state")

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Connect</title>
<h1>Connect to the sandbox company</h1>
<p>{client} asks for: {scope}</p>
<form method="post">{fields}
<label>Company <select name="realm">{realms}</select></label>
<button name="decision" value="connect">Connect</button>
<button name="decision" value="deny">Cancel</button></form></html>"""


def _sandbox(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


async def discovery(request: Request) -> Response:
    """The OpenID configuration; every address is on the host that was asked."""
    base = str(request.base_url).rstrip("/")
    return JSONResponse(
        {
            "issuer": base + "/op/v1",
            "authorization_endpoint": base + AUTHORIZE,
            "token_endpoint": base + TOKEN,
            "userinfo_endpoint": base + USERINFO,
            "revocation_endpoint": base + REVOKE,
            "jwks_uri": base + JWKS,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile", "address", "phone"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "claims_supported": ["aud", "exp", "iat", "iss", "realmid", "sub"],
        }
    )


async def authorize(request: Request) -> Response:
    """The consent page, or at once the redirect when ``auto_approve`` is on."""
    sandbox = _sandbox(request)
    given = {name: request.query_params.get(name, "") for name in _CODE_PARAMETERS}
    wrong = _wrong_request(sandbox, given, request.query_params.get("response_type", "code"))
    if wrong:
        return HTMLResponse(f"<!doctype html><title>Error</title><p>{escape(wrong)}</p>", 400)
    if request.method == "GET" and not sandbox.switches.auto_approve:
        options = "".join(f"<option>{escape(realm)}</option>" for realm in sandbox.books.realms())
        return HTMLResponse(
            _PAGE.format(
                client=escape(given["client_id"]),
                scope=escape(given["scope"]),
                fields="",
                realms=options,
            )
        )
    form = _form(await body_of(request, FORM_BYTES_MAX)) if request.method == "POST" else {}
    if form.get("decision") == "deny":
        return _redirect(given, {"error": "access_denied"})
    realm = form.get("realm", sandbox.settings.realm)
    if sandbox.books.company(realm) is None:
        return HTMLResponse("<!doctype html><title>Error</title><p>Unknown company</p>", 400)
    code = sandbox.grants.authorize(
        realm=realm,
        client_id=given["client_id"],
        scope=given["scope"],
        redirect_uri=given["redirect_uri"],
    )
    return _redirect(given, {"code": code, "realmId": realm})


def _wrong_request(sandbox: Sandbox, given: dict[str, str], response_type: str) -> str:
    if given["client_id"] != sandbox.settings.client_id:
        return "invalid client_id"
    if response_type != "code":
        return "response_type must be code"
    target = urlsplit(given["redirect_uri"])
    if target.scheme not in ("http", "https") or not target.netloc:
        return "invalid redirect_uri"
    return "" if given["scope"] else "scope is missing"


def _redirect(given: dict[str, str], answer: dict[str, str]) -> Response:
    if given["state"]:
        answer["state"] = given["state"]
    joint = "&" if urlsplit(given["redirect_uri"]).query else "?"
    return RedirectResponse(given["redirect_uri"] + joint + urlencode(answer), 302)


async def token(request: Request) -> Response:
    """Grants ``authorization_code`` and ``refresh_token``."""
    sandbox = _sandbox(request)
    form = _form(await body_of(request, FORM_BYTES_MAX))
    if not _is_client(sandbox, request, form):
        return _error("invalid_client", "Client authentication failed", 401)
    kind = form.get("grant_type", "")
    try:
        if kind == "authorization_code":
            grant, answer = sandbox.grants.exchange(
                form.get("code", ""), form.get("redirect_uri", "")
            )
        elif kind == "refresh_token":
            grant, answer = sandbox.grants.refresh(form.get("refresh_token", ""), sandbox.switches)
        else:
            return _error("unsupported_grant_type", f"{kind} is not supported")
    except InvalidGrant as problem:
        return _error("invalid_grant", str(problem))
    if request.headers.get(HARD_LIFE_HEADER, "").lower() == "true":
        age_s = (sandbox.clock.now_ms() - grant.created_ms) // 1000
        answer["x_refresh_token_hard_expires_in"] = HARD_LIFE_S - age_s
    if "openid" in grant.scope.split():
        answer["id_token"] = identity.id_token(sandbox, grant, str(request.base_url))
    return JSONResponse(answer, headers=_headers())


async def revoke(request: Request) -> Response:
    """Ends a connection; the token comes as JSON or as a form."""
    sandbox = _sandbox(request)
    body = await body_of(request, FORM_BYTES_MAX)
    form: dict[str, Any] = {}
    if body.lstrip()[:1] == b"{":
        try:
            form = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            return _error("invalid_request", "The body is not JSON")
    else:
        form = dict(_form(body))
    if not _is_client(sandbox, request, form):
        return _error("invalid_client", "Client authentication failed", 401)
    if not sandbox.grants.revoke(str(form.get("token", ""))):
        return _error("invalid_request", "Token is incorrect")
    return Response(status_code=200, headers=_headers())


async def userinfo(request: Request) -> Response:
    """Who connected; needs a bearer with the openid scope."""
    sandbox = _sandbox(request)
    try:
        grant = sandbox.grants.bearer(request.headers.get("authorization", ""))
    except Refused as fault:
        return _error("invalid_token", fault.problems[0].detail, 401)
    return JSONResponse(_profile(grant))


async def jwks(request: Request) -> Response:
    """The key that signs id tokens."""
    return JSONResponse({"keys": [identity.public_key(_sandbox(request))]})


def _profile(grant: Grant) -> Json:
    return {
        "sub": identity.subject(grant),
        "email": "admin@sample-wholesale.example",
        "emailVerified": True,
        "givenName": "Sample",
        "familyName": "Admin",
        "phoneNumber": "+1 5550100000",
        "phoneNumberVerified": False,
    }


def _form(body: bytes) -> dict[str, str]:
    """The fields of a form; nothing where there are more than any client sends."""
    text = body.decode("utf-8", "replace")
    if text.count("&") >= FIELDS_MAX:
        return {}
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}


def _is_client(sandbox: Sandbox, request: Request, form: dict[str, Any]) -> bool:
    """HTTP Basic, or client_id and client_secret in the body."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            client, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:  # not base64, not text, or not even ASCII
            return False
    else:
        client, secret = str(form.get("client_id", "")), str(form.get("client_secret", ""))
    known = f"{sandbox.settings.client_id}:{sandbox.settings.client_secret}"
    return hmac.compare_digest(f"{client}:{secret}".encode(), known.encode())


def _error(error: str, description: str, status: int = 400) -> Response:
    body = {"error": error, "error_description": description}
    return JSONResponse(body, status, headers=_headers())


def _headers() -> dict[str, str]:
    return {"Cache-Control": "no-store", "intuit_tid": new_tid()}


def routes() -> list[Route]:
    """Every route of this module; discovery is served with and without a final slash."""
    names = ("openid_configuration", "openid_sandbox_configuration", "openid-configuration")
    found = [
        Route(f"/.well-known/{name}{end}", discovery, methods=["GET"])
        for name in names
        for end in ("", "/")
    ]
    return [
        *found,
        Route(AUTHORIZE, authorize, methods=["GET", "POST"]),
        Route(TOKEN, token, methods=["POST"]),
        Route(REVOKE, revoke, methods=["POST"]),
        Route(USERINFO, userinfo, methods=["GET"]),
        Route(JWKS, jwks, methods=["GET"]),
    ]
