"""What the story shows in the end: who sees what, every order's ladder, and the verdict.

The verdict does not ask the product whether it is right: it compares what the reps wrote down with
what stands in QuickBooks, read from QuickBooks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

Sight = Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """Everything the story collected. ``estimates`` are QuickBooks' own documents."""

    reps: Mapping[str, Sight]
    server_sections: Mapping[str, str]  # section → digest
    written: Mapping[str, Sequence[str]]  # "orders" and "quotes" → ids
    totals: Mapping[str, int]  # DocNumber → total in minor units, as the reps wrote it
    estimates: Sequence[Mapping[str, Any]]
    customers_created: int
    proofs: Sequence[bool]  # one per device: its digest equals the server's
    seconds: float

    @property
    def verdict(self) -> dict[str, Any]:
        """The last line of ``replica demo --exit``."""
        numbers = Counter(str(estimate.get("DocNumber")) for estimate in self.estimates)
        wrong = [
            number
            for number, total in self.totals.items()
            if any(minor(estimate) != total for estimate in self.named(number))
        ]
        return {
            "orders": len(self.written["orders"]),
            "quotes": len(self.written["quotes"]),
            "customers_created": self.customers_created,
            "estimates": len(self.estimates),
            "lost": sum(1 for number in self.totals if numbers[number] == 0),
            "duplicated": sum(count - 1 for count in numbers.values()),
            "wrong_totals": len(wrong),
            "replicas_equal": self.replicas_equal,
            "seconds": round(self.seconds, 1),
        }

    @property
    def replicas_equal(self) -> bool:
        digests = [sight["digest"] for sight in self.reps.values()]
        return all(self.proofs) and all(digest == self.server_sections for digest in digests)

    @property
    def holds(self) -> bool:
        """Whether the promise was kept."""
        verdict = self.verdict
        return (
            verdict["lost"] == verdict["duplicated"] == verdict["wrong_totals"] == 0
            and verdict["estimates"] == verdict["orders"] + verdict["quotes"]
            and bool(verdict["replicas_equal"])
        )

    def named(self, number: str) -> list[Mapping[str, Any]]:
        return [found for found in self.estimates if found.get("DocNumber") == number]


def minor(estimate: Mapping[str, Any]) -> int:
    """QuickBooks' total before tax, in minor units: what the rep wrote down (OFF-25)."""
    tax = estimate.get("TxnTaxDetail", {}).get("TotalTax", 0)
    return int((estimate["TotalAmt"] - tax) * 100)


def show(console: Console, outcome: Outcome) -> None:
    """The two tables."""
    console.print(_sights(outcome))
    console.print(_ladders(outcome))


def _sights(outcome: Outcome) -> Table:
    table = Table(title="What each device sees", title_justify="left")
    table.add_column("")
    for name in outcome.reps:
        table.add_column(name, justify="right")
    rows = (
        ("customers", "customers"),
        ("products", "products"),
        ("orders", "orders"),
        ("quotes", "quotes"),
        ("phone of the contested customer", "contested_phone"),
        ("the deleted customer is still there", "doomed_exists"),
        ("overridden edits, listed with the rule", "overridden"),
        ("unsent", "pending"),
        ("position in the log", "position"),
    )
    for label, key in rows:
        table.add_row(label, *(_word(sight[key]) for sight in outcome.reps.values()))
    proofs = ("equal" if proof else "DIFFERENT" for proof in outcome.proofs)
    table.add_row("digest against the server's", *proofs)
    return table


def _ladders(outcome: Outcome) -> Table:
    table = Table(title="Every order's ladder", title_justify="left")
    for column in ("taken by", "number", "on device", "server position", "estimate", "total"):
        right = column in {"server position", "total"}
        table.add_column(column, justify="right" if right else "left")
    for name, sight in outcome.reps.items():
        for rung in sight["ladders"]:
            total = f"{rung['total_minor'] / 100:,.2f}"
            position = str(rung["position"] or "-")
            table.add_row(name, rung["number"], "yes", position, rung["estimate"] or "-", total)
    return table


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
