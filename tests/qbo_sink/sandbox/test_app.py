"""The sandbox on a port: behind a certificate, and at the pace of the product."""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette

from qbo_sink.sandbox import create_sandbox, server
from qbo_sink.sandbox.throttle import PER_SECOND


def _certificate(folder: Path) -> tuple[str, str]:
    """Paths of a certificate for this machine, signed by itself, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(day).not_valid_after(day.replace(year=2090))
    signed = made.sign(key, hashes.SHA256())
    (folder / "c.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "k.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(folder / "c.pem"), str(folder / "k.pem")


@contextlib.contextmanager
def _served(app: Starlette, *, certificate: str = "", key: str = "") -> Iterator[int]:
    """The port on which ``app`` answers."""
    running = server(app, host="127.0.0.1", port=0, certificate=certificate, key=key)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started and thread.is_alive():
            thread.join(0.01)
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        thread.join()


@pytest.mark.process
def test_served_with_a_certificate(tmp_path: Path) -> None:
    """Connections over TLS are answered, and a planned fault can still cut one (issue 4, 1)."""
    certificate, key = _certificate(tmp_path)
    with (
        _served(create_sandbox(), certificate=certificate, key=key) as port,
        httpx2.Client(base_url=f"https://127.0.0.1:{port}", verify=False) as client,
    ):
        found = client.get("/.well-known/openid_sandbox_configuration").json()
        assert found["token_endpoint"].startswith(f"https://127.0.0.1:{port}/")
        client.post("/sandbox/faults", json={"kind": "drop_before", "match": "well-known"})
        with pytest.raises(httpx2.TransportError):
            client.get("/.well-known/openid_sandbox_configuration")


@pytest.mark.process
def test_who_waits_for_each_answer_is_never_throttled() -> None:
    """With every limit on, a client that asks one thing after the other over a port gets each
    answer, as in the product, whose answers take longer than the limits allow (issue 4, 1)."""
    with (
        _served(create_sandbox()) as port,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        token = client.post("/sandbox/connect", json={}).json()
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        url = f"/v3/company/{token['realmId']}/preferences"
        found = [client.get(url, headers=headers).status_code for _ in range(2 * PER_SECOND)]
        assert set(found) == {200}
