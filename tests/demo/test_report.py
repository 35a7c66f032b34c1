"""The demo's verdict has to be able to fail."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest

from replica.demo.report import Outcome


def estimate(number: str, total: str, tax: str = "0") -> dict[str, Any]:
    return {
        "DocNumber": number,
        "TotalAmt": Decimal(total),
        "TxnTaxDetail": {"TotalTax": Decimal(tax)},
    }


GOOD = Outcome(
    reps={"Rep 1": {"digest": {"order": "aa"}}},
    server_sections={"order": "aa"},
    written={"orders": ["o-1"], "quotes": ["q-1"]},
    totals={"R-1": 1000, "R-2": 250},
    estimates=[estimate("R-1", "10.80", "0.80"), estimate("R-2", "2.50")],
    customers_created=0,
    proofs=[True],
    seconds=1.0,
)


def test_a_kept_promise_holds() -> None:
    """One estimate for each sale, right totals and equal digests hold; tax is not ours (OFF-25)."""
    assert GOOD.holds
    assert GOOD.verdict["estimates"] == 2


@pytest.mark.parametrize(
    ("broken", "shown"),
    [
        ({"estimates": GOOD.estimates[:1]}, ("lost", 1)),
        ({"estimates": [*GOOD.estimates, estimate("R-2", "2.50")]}, ("duplicated", 1)),
        ({"estimates": [estimate("R-1", "9.99"), GOOD.estimates[1]]}, ("wrong_totals", 1)),
        ({"server_sections": {"order": "bb"}}, ("replicas_equal", False)),
        ({"proofs": [False]}, ("replicas_equal", False)),
    ],
    ids=["lost", "doubled", "wrong total", "server differs", "device differs"],
)
def test_a_broken_promise_is_seen(broken: dict[str, Any], shown: tuple[str, Any]) -> None:
    """A lost, doubled or wrong estimate and a different replica each fail the verdict (I-24)."""
    outcome = dataclasses.replace(GOOD, **broken)
    assert not outcome.holds
    assert outcome.verdict[shown[0]] == shown[1]
