"""Reading a retail history file: Parquet, in batches, columns by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from replica.errors import Malformed, MisuseError
from replica.history.rows import RawRow
from replica.limits import HISTORY_BATCH_ROWS


@dataclass(frozen=True)
class Columns:
    """What the columns of the file are called."""

    invoice: str = "Invoice"
    stock_code: str = "StockCode"
    description: str = "Description"
    quantity: str = "Quantity"
    date: str = "InvoiceDate"
    price: str = "Price"
    customer: str = "Customer ID"
    country: str = "Country"


def columns_from(options: list[str]) -> Columns:
    """``["invoice=Rechnung", …]`` over the defaults; ``MisuseError`` for an unknown field."""
    known = [field.name for field in fields(Columns)]
    columns = Columns()
    for option in options:
        name, separator, value = option.partition("=")
        if name not in known or not separator or not value:
            raise MisuseError(
                f"{option!r} names no column", hint=f"use field=name with one of {', '.join(known)}"
            )
        columns = replace(columns, **{name: value})
    return columns


def rows(path: Path, columns: Columns) -> Iterator[RawRow]:
    """Every row of the file in order, numbered from 1, some thousands decoded at a time.

    Raises ``Malformed`` when the file is not Parquet, breaks off, lacks a column or nests one, and
    ``MisuseError`` when pyarrow is not installed (the extra ``history``).
    """
    parquet, arrow_errors = _parquet()
    names = [getattr(columns, field.name) for field in fields(Columns)]
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(file.schema_arrow, names)
            for batch in file.iter_batches(HISTORY_BATCH_ROWS, columns=names):
                cells = [batch.column(name).to_pylist() for name in names]
                for values in zip(*cells, strict=True):
                    number += 1
                    yield RawRow(number, *values)
    except arrow_errors as error:
        raise Malformed(f"{path.name} cannot be read as Parquet: {error}") from error


def _check_columns(schema: Any, names: list[str]) -> None:
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise Malformed(
            f"no column {', '.join(map(repr, missing))}; there are {', '.join(schema.names)}",
            hint="name columns with --column field=name",
        )
    for name in names:
        if schema.field(name).type.num_fields:
            raise Malformed(f"column {name!r} holds nested values")


def _parquet() -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        import pyarrow  # noqa: PLC0415  an extra: only this verb needs it
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise MisuseError(
            "reading Parquet needs pyarrow", hint="pip install 'replica[history]'"
        ) from error
    return parquet, (pyarrow.ArrowException, OSError)
