"""The sink's configuration: frozen values, built once from the environment.

Production, Intuit's sandbox and our own sandbox differ by these values only. Three guards: plain
http to loopback only, no real credentials to a base that is not Intuit's, and the profile
``local-sandbox`` against loopback only (quickbooks.md §3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from qbo_sink.model import ACCEPTED, INVOICE, PENDING, Settings
from replica.errors import MisuseError
from replica.limits import (
    QBO_CONCURRENT_CALLS,
    QBO_REQUESTS_PER_MIN,
    QBO_REQUESTS_PER_S,
)

PRODUCTION, INTUIT_SANDBOX, LOCAL_SANDBOX = "production", "intuit-sandbox", "local-sandbox"
_BASES = {
    PRODUCTION: "https://quickbooks.api.intuit.com",
    INTUIT_SANDBOX: "https://sandbox-quickbooks.api.intuit.com",
}
APPS = {
    PRODUCTION: "https://app.qbo.intuit.com/app/",
    INTUIT_SANDBOX: "https://app.sandbox.qbo.intuit.com/app/",
}
_TOKEN_URL = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"  # noqa: S105
_AUTHORIZE_URL = "https://appcenter.intuit.com/connect/oauth2"
_REVOKE_URL = "https://developer.api.intuit.com/v2/oauth2/tokens/revoke"
_LOCAL_REALM = "4620816365000000001"
_LOCAL_CLIENT, _LOCAL_SECRET = "sandbox-client", "sandbox-secret"
SCOPE = "com.intuit.quickbooks.accounting"


@dataclass(frozen=True)
class Config:
    """Everything the sink takes from the environment, but for the secret key (``vault``)."""

    profile: str
    api_base: str
    token_url: str
    authorize_url: str
    revoke_url: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uri: str
    webhook_verifier: str = field(repr=False)
    realm: str
    minor_version: str
    requests_per_s: float
    requests_per_min: float
    concurrent_calls: int
    schedule: str
    zone: str
    settings: Settings


def from_env(environ: Mapping[str, str]) -> Config | None:
    """The configuration, or None when nothing names a QuickBooks to talk to.

    Raises ``MisuseError`` naming the variable when a guard refuses or a value does not parse.
    """

    def read(name: str, default: str = "") -> str:
        return environ.get(f"QBO_{name}", "").strip() or default

    profile = read("PROFILE", LOCAL_SANDBOX if _is_local(read("API_BASE")) else "")
    if not profile and not read("API_BASE") and not read("CLIENT_ID"):
        return None
    profile = profile or PRODUCTION
    if profile not in (*_BASES, LOCAL_SANDBOX):
        raise MisuseError(f"QBO_PROFILE is none of {', '.join((*_BASES, LOCAL_SANDBOX))}")
    base = read("API_BASE", _BASES.get(profile, "")).rstrip("/")
    if not base:
        raise MisuseError("QBO_API_BASE is needed with the profile local-sandbox")
    local = profile == LOCAL_SANDBOX
    config = Config(
        profile=profile,
        api_base=base,
        token_url=read("TOKEN_URL", f"{base}/oauth2/v1/tokens/bearer" if local else _TOKEN_URL),
        authorize_url=read("AUTHORIZE_URL", f"{base}/connect/oauth2" if local else _AUTHORIZE_URL),
        revoke_url=read("REVOKE_URL", f"{base}/v2/oauth2/tokens/revoke" if local else _REVOKE_URL),
        client_id=read("CLIENT_ID", _LOCAL_CLIENT if local else ""),
        client_secret=read("CLIENT_SECRET", _LOCAL_SECRET if local else ""),
        redirect_uri=read("REDIRECT_URI"),
        webhook_verifier=read("WEBHOOK_VERIFIER"),
        realm=read("REALM", _LOCAL_REALM if local else ""),
        minor_version=read("MINOR_VERSION", "75"),
        requests_per_s=_number("REQUESTS_PER_S", read("REQUESTS_PER_S"), QBO_REQUESTS_PER_S),
        requests_per_min=_number(
            "REQUESTS_PER_MIN", read("REQUESTS_PER_MIN"), QBO_REQUESTS_PER_MIN
        ),
        concurrent_calls=int(
            _number("CONCURRENT_CALLS", read("CONCURRENT_CALLS"), QBO_CONCURRENT_CALLS)
        ),
        schedule=read("SCHEDULE", "never"),
        zone=read("ZONE", "UTC"),
        settings=_settings(environ),
    )
    _guard(config, allow_foreign=read("ALLOW_FOREIGN_BASE") == "1")
    return config


def there(config: Config, kind: str, external_id: str) -> str:
    """The address of one document in QuickBooks, "" where it has no pages for people."""
    app = APPS.get(config.profile, "")
    return f"{app}{kind}?txnId={external_id}" if app and external_id else ""


def _settings(environ: Mapping[str, str]) -> Settings:
    given = Settings()
    item_type = environ.get("QBO_ITEM_TYPE", "") or given.item_type
    if item_type not in ("NonInventory", "Service"):
        raise MisuseError("QBO_ITEM_TYPE is NonInventory or Service")
    return Settings(
        order_status=_form(environ, "QBO_ORDER_STATUS", (ACCEPTED, PENDING, INVOICE)),
        quote_status=_form(environ, "QBO_QUOTE_STATUS", (PENDING, ACCEPTED)),
        item_type=item_type,
        income_account=environ.get("QBO_INCOME_ACCOUNT", ""),
        tax_code=environ.get("QBO_TAX_CODE", ""),
        exempt_code=environ.get("QBO_EXEMPT_CODE", ""),
        strict_order=environ.get("QBO_STRICT_ORDER", "") == "1",
    )


def _form(environ: Mapping[str, str], name: str, known: tuple[str, ...]) -> str:
    """What a new document becomes; the first of ``known`` where nothing is said."""
    said = environ.get(name, "") or known[0]
    if said not in known:
        raise MisuseError(f"{name} is none of {', '.join(known)}")
    return said


def _guard(config: Config, *, allow_foreign: bool) -> None:
    for name in ("api_base", "token_url", "authorize_url", "revoke_url"):
        url = getattr(config, name)
        if urlsplit(url).scheme != "https" and not _is_local(url):
            raise MisuseError(f"QBO_{name.upper()} is plain http to another machine")
    if config.profile == LOCAL_SANDBOX:
        if not _is_local(config.api_base):
            raise MisuseError("the profile local-sandbox works against this machine only")
        return
    if not config.client_id or not config.client_secret:
        raise MisuseError("QBO_CLIENT_ID and QBO_CLIENT_SECRET are needed")
    for url in (config.api_base, config.token_url, config.revoke_url):
        if not (urlsplit(url).hostname or "").endswith(".intuit.com") and not allow_foreign:
            raise MisuseError(
                f"{urlsplit(url).hostname} is not Intuit's, and real credentials would go there",
                hint="set QBO_ALLOW_FOREIGN_BASE=1 if that is what you mean",
            )


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _number(name: str, text: str, default: float) -> float:
    try:
        value = float(text) if text else float(default)
    except ValueError as error:
        raise MisuseError(f"QBO_{name} is not a number") from error
    if value <= 0:
        raise MisuseError(f"QBO_{name} is above zero")
    return value
