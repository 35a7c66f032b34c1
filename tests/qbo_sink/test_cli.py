"""The operator's verbs: what they print and how they end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from qbo_sink.cli import verbs
from tests.qbo_sink.test_push import basics, run
from tests.qbo_sink.world import ACCOUNT, KEY, World, customer, order, product


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with the ledger of a company that has an order there and a failing row."""
    world = World(tmp_path / "world")
    basics(world)
    world.put(order("o-1"))
    run(world)
    world.put(customer("c-9", "Harbour Deli"), product("p-9"), order("o-9", "c-9"))
    run(world)
    world.close()
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(tmp_path / "world" / "ledger.db", folder / "ledger-quickbooks.db")
    shutil.copy(tmp_path / "world" / "views.db", folder / "views.db")
    monkeypatch.setenv("REPLICA_DATA", str(folder))
    monkeypatch.delenv("REPLICA_DATABASE_URL", raising=False)
    monkeypatch.setenv("QBO_API_BASE", "http://127.0.0.1:9")
    monkeypatch.setenv("QBO_SECRET_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "200")
    return folder


def call(*arguments: str) -> Result:
    return CliRunner().invoke(verbs(), list(arguments))


def test_status_tells_state_deadlines_and_costs(data: Path) -> None:
    """The state in words, what waits, when the permission ends, reads and their forecast (§7)."""
    shown = call("status")
    assert shown.exit_code == 0, shown.output
    for text in (ACCOUNT.hex(), "1 row needs attention", "1 faulted", "Permission ends if unused"):
        assert text in shown.output
    assert "Profile: local-sandbox" in shown.output


def test_queue_tells_order_and_reason(data: Path) -> None:
    """The failing row stands first and what waits says for whom (QB-15, QB-21)."""
    shown = call("queue")
    assert shown.exit_code == 0, shown.output
    rows = [line for line in shown.output.splitlines() if "c-9" in line]
    assert "customer c-9" in rows[0]
    assert "waits for customer c-9" in rows[1]


def test_errors_tell_cause_and_fix_and_end_with_three(data: Path) -> None:
    """A script notices: exit code 3, with code, cause, fix and Intuit's id (QB-18, QB-26)."""
    shown = call("errors")
    assert shown.exit_code == 3
    for text in ("6240", "name already"):
        assert text in shown.output.replace("\n", " ")


def test_reconcile_says_its_cost_and_why_it_cannot(data: Path) -> None:
    """The cost is said without a call; without an answer the verb ends with words and code 1."""
    cost = call("reconcile", "--cost")
    assert cost.exit_code == 0, cost.output
    assert "metered reads" in cost.output
    shown = call("reconcile")
    assert shown.exit_code == 1
    assert shown.exception is None or isinstance(shown.exception, SystemExit)
    assert "Traceback" not in shown.output


def test_an_order_is_converted_by_its_verb(data: Path) -> None:
    """The invoice waits in the queue after one verb, and is refused a second time (QB-05)."""
    assert "Queued" in call("convert", "o-1").output
    assert "Invoice" in call("queue").output
    again = call("convert", "o-1")
    assert (again.exit_code, "waits in the queue already" in again.output) == (1, True)
    unsent = call("deliver", "o-1", "--to", "ana@side.example")
    assert (unsent.exit_code, "no invoice of it" in unsent.output) == (1, True)


def test_the_callback_is_where_the_server_listens(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consent page comes back to the port, or the address, that was named."""
    monkeypatch.setenv("QBO_API_BASE", "")
    monkeypatch.setenv("QBO_CLIENT_ID", "app")
    monkeypatch.setenv("QBO_CLIENT_SECRET", "secret")
    for option, value, expected in (
        ("--port", "9443", "127.0.0.1%3A9443%2Fsinks%2Fquickbooks%2Fcallback"),
        ("--callback", "https://office.example/sinks/quickbooks/callback", "office.example"),
    ):
        shown = call("connect", option, value)
        assert expected in shown.output.replace("\n", ""), shown.output


def test_a_machine_without_a_ledger_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has run here yet: said in words, with exit code 1."""
    monkeypatch.setenv("REPLICA_DATA", str(tmp_path))
    monkeypatch.delenv("REPLICA_DATABASE_URL", raising=False)
    for verb in ("status", "queue", "errors"):
        shown = call(verb)
        assert (shown.exit_code, "has not run here" in shown.output) == (1, True)


def test_an_account_that_is_none_is_refused(data: Path) -> None:
    """A wrong account id ends with words (I-16)."""
    assert call("status", "--account", "zz").exit_code == 1
