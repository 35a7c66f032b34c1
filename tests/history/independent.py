"""A second way to the counts and totals of a history, sharing no code with the product.

Decimal arithmetic over the raw cells: what an accountant would do with the file alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pyarrow import parquet

PENNY = Decimal("0.01")


class Expected(NamedTuple):
    lines: int
    invoices: int
    orders: int
    returns: int
    customers: int
    products: int
    total_minor: int


@lru_cache(maxsize=65_536)
def amount(quantity: str, price: str) -> Decimal:
    """Rounded to the penny; ROUND_HALF_UP is "away from zero" for both signs."""
    return (Decimal(quantity) * Decimal(price)).quantize(PENNY, rounding=ROUND_HALF_UP)


def expected(rows: Iterable[Mapping[str, Any]]) -> Expected:
    """What good rows add up to. Every invoice is one document per sign of its quantities."""
    lines = 0
    total = Decimal(0)
    out: set[str] = set()
    back: set[str] = set()
    customers: set[str] = set()
    products: set[str] = set()
    for row in rows:
        lines += 1
        total += amount(str(row["Quantity"]), str(row["Price"]))
        (out if row["Quantity"] > 0 else back).add(row["Invoice"])
        products.add(row["StockCode"])
        if row["Customer ID"] is not None and row["Customer ID"] == row["Customer ID"]:
            customers.add(str(row["Customer ID"]))
    return Expected(
        lines,
        len(out | back),
        len(out),
        len(back),
        len(customers),
        len(products),
        int(total * 100),
    )


def read_file(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows
