"""A small history with every oddity that files of this form were seen to have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

FIELDS = (
    "Invoice",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "Price",
    "Customer ID",
    "Country",
)
UK = "United Kingdom"
WHEN = "2009-12-01 07:45:00"

GOOD: tuple[tuple[Any, ...], ...] = (
    ("489434", "85048", "GLASS BALL", 12, WHEN, 6.95, 13085.0, UK),
    ("489434", "79323P", "PINK LIGHTS", 12, WHEN, 6.75, 13085.0, UK),
    ("489434", "79323P", "PINK LIGHTS", 12, WHEN, 6.75, 13085.0, UK),  # a repeated row is a line
    ("489435", "85048", None, 1, WHEN, 0.125, None, "EIRE"),  # half a penny, nobody's, no words
    ("489434", "85048", "GLASS BALL", 1, "2009-12-01 07:46:00", 6.95, 13085.0, UK),  # scattered
    ("489435", "BANK CHARGES", "Bank Charges", 1, WHEN, 15.0, None, "EIRE"),  # not goods
    ("489435", "POST", "Postage", 3, WHEN, 1.115, None, "EIRE"),  # 3.345, to the nearest penny
    ("C489449", "22087", "PAPER BUNTING WHITE LACE", -12, WHEN, 2.95, 16321.0, "Australia"),
    ("489464", "21733", "85123a mixed", -96, WHEN, 0.0, None, UK),  # a stock adjustment
    ("489461", "21733", "HEART T-LIGHT", 4, WHEN, 0.0, 13085.0, UK),  # free
    ("A506401", "B", "Adjust bad debt", 1, WHEN, -53594.36, None, UK),
    ("489500", "21733", "HEART T-LIGHT", 5, WHEN, 2.55, 12417.0, "Spain"),  # both signs
    ("489500", "21733", "HEART T-LIGHT", -2, WHEN, 2.55, 12417.0, "Spain"),
    ("C496350", "M", "Manual", 1, WHEN, 373.57, None, UK),  # a cancellation that goes out
    ("489501", "m", "Manual", 1, WHEN, 0.001, None, "Spain"),  # another code; rounds to nothing
    ("489502", "47503J ", "Café “Gift” £10.00 日本", 1, WHEN, 10.0, 12417.0, "Belgium"),
)
BAD: tuple[tuple[tuple[Any, ...], str], ...] = (
    ((None, "85048", "x", 1, WHEN, 1.0, None, UK), "invoice number is missing"),
    (("  ", "85048", "x", 1, WHEN, 1.0, None, UK), "invoice number is missing"),
    (("1" * 22, "85048", "x", 1, WHEN, 1.0, None, UK), "invoice number is longer"),
    (("489434", None, "x", 1, WHEN, 1.0, 13085.0, UK), "stock code is missing"),
    (("489434", "8\x0748", "x", 1, WHEN, 1.0, 13085.0, UK), "stock code holds a control"),
    (("489434", "85048", "x", None, WHEN, 1.0, 13085.0, UK), "quantity is missing"),
    (("489434", "85048", "x", 0, WHEN, 1.0, 13085.0, UK), "quantity is zero"),
    (("489434", "85048", "x", 1, WHEN, None, 13085.0, UK), "price is missing"),
    (("489434", "85048", "x", 1, WHEN, float("inf"), 13085.0, UK), "price is not finite"),
    (("489434", "85048", "x", 1, WHEN, 1e300, 13085.0, UK), "price is out of range"),
    (("489434", "85048", "x", 1, WHEN, 1.00001, 13085.0, UK), "price has more than 4 decimals"),
    (("489434", "85048", "x", 2**40, WHEN, 1e11, 13085.0, UK), "quantity times price"),
    (("489434", "85048", "x", -1, WHEN, -1.0, 13085.0, UK), "goods came back"),
    (("489434", "85048", "x", 1, "yesterday", 1.0, 13085.0, UK), "date cannot be read"),
    (("489434", "85048", "x", 1, None, 1.0, 13085.0, UK), "date is missing"),
    (("489434", "85048", "x" * 4001, 1, WHEN, 1.0, 13085.0, UK), "description is longer"),
    (("489434", "85048", "a\x00b", 1, WHEN, 1.0, 13085.0, UK), "description holds NUL"),
    (("489434", "85048", "x", 1, WHEN, 1.0, 99999.0, UK), "another customer"),
    (("489434", "85048", "x", 1, WHEN, 1.0, 13085.0, "Norway"), "another country"),
)


def as_rows(cells: tuple[tuple[Any, ...], ...]) -> list[dict[str, Any]]:
    return [dict(zip(FIELDS, row, strict=True)) for row in cells]


def write(path: Path, *, good_only: bool = False) -> Path:
    """A Parquet file of the good rows, the bad ones spread between them."""
    cells = list(GOOD)
    if not good_only:
        for at, (bad, _reason) in enumerate(BAD):
            cells.insert(min(2 * at + 1, len(cells)), bad)
    columns = dict(zip(FIELDS, zip(*cells, strict=True), strict=True))
    parquet.write_table(pyarrow.table(columns), path)
    return path
