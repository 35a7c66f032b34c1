"""Signed id tokens for clients that ask for the openid scope."""

from __future__ import annotations

import base64
import uuid

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from qbo_sink.sandbox.grants import ACCESS_S, Grant
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import Json, write_json

KEY_ID = "sandbox-key"
_BITS = 2_048


def subject(grant: Grant) -> str:
    """A stable id of the user who connected."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, grant.realm))


def id_token(sandbox: Sandbox, grant: Grant, base_url: str) -> str:
    """A JSON web token, RS256, for ``grant``."""
    now = sandbox.clock.now_ms() // 1000
    claims = {
        "sub": subject(grant),
        "aud": [grant.client_id],
        "realmid": grant.realm,
        "auth_time": grant.created_ms // 1000,
        "iss": base_url.rstrip("/") + "/op/v1",
        "iat": now,
        "exp": now + ACCESS_S,
    }
    signed = _part({"alg": "RS256", "kid": KEY_ID, "typ": "JWT"}) + "." + _part(claims)
    mark = _key(sandbox).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_base64(mark)}"


def public_key(sandbox: Sandbox) -> Json:
    """The public half as a JSON web key."""
    numbers = _key(sandbox).public_key().public_numbers()
    return {
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": KEY_ID,
        "n": _base64(numbers.n.to_bytes(_BITS // 8, "big")),
        "e": _base64(numbers.e.to_bytes(3, "big")),
    }


def _key(sandbox: Sandbox) -> rsa.RSAPrivateKey:
    """Made when first needed and kept in the books."""
    kept = sandbox.books.setting("id_token_key")
    if kept is not None:
        loaded = serialization.load_pem_private_key(kept.encode(), password=None)
        if isinstance(loaded, rsa.RSAPrivateKey):
            return loaded
    key = rsa.generate_private_key(public_exponent=65_537, key_size=_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with sandbox.books.atomic():
        sandbox.books.keep_setting("id_token_key", pem.decode())
    return key


def _part(value: Json) -> str:
    return _base64(write_json(value))


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
