"""The verbs of analysts, as typed: figures on standard output, what they are of beside them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from replica.events.payloads import CustomerChanged, CustomerFields
from tests.cli.test_verbs import Cli, cli, data
from tests.server.raw import customer
from tests.server.world import World

__all__ = ["cli", "data"]


def test_an_analyst_exports_looks_back_compares_and_replays(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    """One log, four questions; each answer names account and position, so that it can be had
    again, and a wrong word is a wrong usage (A)."""
    world = World(data)
    company = world.company()
    world.write(company, customer(1, "Acme"))
    world.write(company, CustomerChanged("c-1", CustomerFields(name="Acme Ltd")))
    world.stop()

    cli("events", "export", str(tmp_path / "events.csv"), "--kind", "customer.")
    assert f"account {company.account.hex()} to position 2: 2 events" in cli.said
    with (tmp_path / "events.csv").open(newline="") as file:
        assert [row["kind"] for row in csv.DictReader(file)] == [
            "customer.created",
            "customer.changed",
        ]

    (then,) = json.loads(cli("asof", "1", "customers"))
    (now,) = json.loads(cli("asof", "now", "customer"))
    assert (then["fields"]["name"], now["fields"]["name"]) == ("Acme", "Acme Ltd")
    cli("asof", "now", "customers", "-o", str(tmp_path / "customers.jsonl"))
    assert "1 rows, sha256 " in cli.said

    changed = cli.json("diff", "1", "now", "customers")
    assert [row["column"] for row in changed] == ["changed_ms", "fields.name", "losers"]
    assert cli("diff", "0", "1", "customers").splitlines()[1].split()[:2] == ["added", "c-1"]

    reducer = tmp_path / "kinds.py"
    reducer.write_text("begin = list\ndef step(kinds, entry):\n    return [*kinds, entry.kind]\n")
    assert json.loads(cli("replay", str(reducer), "--to", "1")) == ["customer.created"]

    cli("asof", "soon", "customers", code=2)
    cli("asof", "now", "things", code=2)
    assert "one of class, customer" in cli.said
