"""Published clients, unmodified, against a sandbox on a real port.

They pin their own versions of things this project does not need, so they live in an environment
of their own: ``SANDBOX_CLIENTS`` names its Python. Without it these tests are skipped, loudly.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator

import pytest

from qbo_sink.sandbox import Settings, Switches, create_sandbox, server

PYTHON = os.environ.get("SANDBOX_CLIENTS", "")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not PYTHON,
        reason="SANDBOX_CLIENTS is not set: python-quickbooks and intuit-oauth were NOT tried",
    ),
]

_CONNECT = """
import sys, requests
from urllib.parse import parse_qs, urlsplit
from intuitlib.client import AuthClient
from intuitlib.enums import Scopes
from intuitlib.exceptions import AuthClientError
base = sys.argv[1]
client = AuthClient("sandbox-client", "sandbox-secret", "http://localhost/back",
                    base + "/.well-known/openid_sandbox_configuration/")
url = client.get_authorization_url([Scopes.ACCOUNTING, Scopes.OPENID])
back = requests.post(url, data={"decision": "connect"}, allow_redirects=False).headers["location"]
query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
assert query["state"] == client.state_token
client.get_bearer_token(query["code"], realm_id=query["realmId"])
before = client.access_token
client.refresh()
assert client.access_token != before
assert client.revoke()
try:
    client.refresh()
except AuthClientError as error:
    assert b"invalid_grant" in error.content
else:
    raise SystemExit("a revoked connection was refreshed")
"""

_BOOKS = """
import sys, requests
from intuitlib.client import AuthClient
from quickbooks.client import QuickBooks
from quickbooks.objects import Customer, Estimate, Invoice, Item
from quickbooks.objects.base import LinkedTxn
from quickbooks.objects.detailline import SalesItemLine, SalesItemLineDetail
base = sys.argv[1]
tokens = requests.post(base + "/sandbox/connect", json={}).json()
QuickBooks.api_url_v3 = base + "/v3"
auth = AuthClient(tokens["client_id"], tokens["client_secret"], "http://localhost/back",
                  base + "/.well-known/openid_sandbox_configuration/")
qb = QuickBooks(auth_client=auth, refresh_token=tokens["refresh_token"],
                company_id=tokens["realmId"], minorversion=75)
customer = Customer()
customer.DisplayName = "Published client"
customer.save(qb=qb)
item = Item.all(max_results=1, qb=qb)[0]

def form(kind):
    made = kind()
    made.CustomerRef = customer.to_ref()
    line = SalesItemLine()
    line.Amount = 29
    line.SalesItemLineDetail = SalesItemLineDetail()
    line.SalesItemLineDetail.ItemRef = item.to_ref()
    line.SalesItemLineDetail.Qty, line.SalesItemLineDetail.UnitPrice = 2, 14.5
    made.Line.append(line)
    return made

estimate = form(Estimate)
estimate.save(qb=qb, request_id="one")
assert form(Estimate).save(qb=qb, request_id="one").Id == estimate.Id
invoice = form(Invoice)
link = LinkedTxn()
link.TxnId, link.TxnType = estimate.Id, "Estimate"
invoice.LinkedTxn.append(link)
invoice.save(qb=qb)
again = Estimate.get(estimate.Id, qb=qb)
assert again.LinkedTxn[0].TxnId == invoice.Id
again.PrivateNote = "whole object saved"
again.save(qb=qb)
assert Estimate.get(estimate.Id, qb=qb).PrivateNote == "whole object saved"
assert Invoice.get(invoice.Id, qb=qb).download_pdf(qb=qb).startswith(b"%PDF")
Invoice.get(invoice.Id, qb=qb).delete(qb=qb)
assert Invoice.filter(Id=invoice.Id, qb=qb) == []
"""


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """Address of a sandbox on a real port."""
    app = create_sandbox(settings=Settings(switches=Switches(throttle=False)))
    running = server(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started and thread.is_alive():
            thread.join(0.01)
        yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join()


def _run(script: str, base: str) -> None:
    environment = os.environ | {"OAUTHLIB_INSECURE_TRANSPORT": "1", "PYTHONWARNINGS": "ignore"}
    command = [PYTHON, "-c", script, base]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_official_oauth_client_connects_refreshes_and_revokes(base: str) -> None:
    """intuit-oauth completes its whole life against the sandbox (issue 4, done when)."""
    _run(_CONNECT, base)


def test_python_quickbooks_keeps_books(base: str) -> None:
    """python-quickbooks creates, converts, saves whole objects, prints and deletes."""
    _run(_BOOKS, base)
