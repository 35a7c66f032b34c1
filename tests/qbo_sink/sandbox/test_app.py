"""The sandbox behind a certificate, for clients that refuse plain http."""

from __future__ import annotations

import datetime
import threading
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from qbo_sink.sandbox import create_sandbox, server


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


@pytest.mark.process
def test_served_with_a_certificate(tmp_path: Path) -> None:
    """Connections over TLS are answered, and a planned fault can still cut one (issue 4, 1)."""
    certificate, key = _certificate(tmp_path)
    app = create_sandbox()
    running = server(app, host="127.0.0.1", port=0, certificate=certificate, key=key)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started and thread.is_alive():
            thread.join(0.01)
        port = running.servers[0].sockets[0].getsockname()[1]
        with httpx2.Client(base_url=f"https://127.0.0.1:{port}", verify=False) as client:
            found = client.get("/.well-known/openid_sandbox_configuration").json()
            assert found["token_endpoint"].startswith(f"https://127.0.0.1:{port}/")
            client.post("/sandbox/faults", json={"kind": "drop_before", "match": "well-known"})
            with pytest.raises(httpx2.TransportError):
                client.get("/.well-known/openid_sandbox_configuration")
    finally:
        running.should_exit = True
        thread.join()
