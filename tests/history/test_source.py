"""Reading files that are what they say, and files that are not."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from replica.errors import Malformed, MisuseError
from replica.history.rows import Line, read
from replica.history.source import Columns, columns_from, rows
from tests.history.oddities import write


def test_columns_are_named_by_options() -> None:
    """A history in the same form with other headings loads too."""
    columns = columns_from(["invoice=Rechnung", "customer=Kunde"])
    assert (columns.invoice, columns.customer, columns.price) == ("Rechnung", "Kunde", "Price")
    for wrong in ("nothing=x", "invoice", "invoice="):
        with pytest.raises(MisuseError, match="names no column"):
            columns_from([wrong])


def test_renamed_columns_give_the_same_rows(tmp_path: Path) -> None:
    """What a column is called changes nothing about what it holds."""
    plain = write(tmp_path / "plain.parquet")
    table = parquet.read_table(plain)
    renamed = [name.upper() for name in table.column_names]
    parquet.write_table(table.rename_columns(renamed), tmp_path / "renamed.parquet")
    options = [
        "invoice=INVOICE",
        "stock_code=STOCKCODE",
        "description=DESCRIPTION",
        "quantity=QUANTITY",
        "date=INVOICEDATE",
        "price=PRICE",
        "customer=CUSTOMER ID",
        "country=COUNTRY",
    ]
    other = rows(tmp_path / "renamed.parquet", columns_from(options))
    assert repr(list(other)) == repr(list(rows(plain, Columns())))


def test_other_column_types_mean_the_same(tmp_path: Path) -> None:
    """Whole numbers as invoices, timestamps as dates and decimals as prices are understood."""
    table = pyarrow.table(
        {
            "Invoice": pyarrow.array([489434], pyarrow.int64()),
            "StockCode": pyarrow.array([85048.0], pyarrow.float64()),
            "Description": ["LAMP"],
            "Quantity": pyarrow.array([2.5], pyarrow.float64()),
            "InvoiceDate": pyarrow.array([1_259_653_500_000], pyarrow.timestamp("ms")),
            "Price": pyarrow.array(["6.95"]).cast(pyarrow.decimal128(9, 2)),
            "Customer ID": pyarrow.array([13085], pyarrow.int32()),
            "Country": ["EIRE"],
        }
    )
    parquet.write_table(table, tmp_path / "typed.parquet")
    (row,) = rows(tmp_path / "typed.parquet", Columns())
    assert read(row) == Line(
        1,
        "489434",
        "85048",
        "LAMP",
        2_500,
        "2009-12-01",
        "2009-12-01 07:45:00",
        69_500,
        "13085",
        "EIRE",
    )


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    """No Parquet, a cut file, a missing column and nested values are refused with the reason."""
    text = tmp_path / "text.parquet"
    text.write_text("Invoice,StockCode\n")
    cut = write(tmp_path / "cut.parquet")
    cut.write_bytes(cut.read_bytes()[:-100])
    for wrong in (text, cut, tmp_path / "absent.parquet"):
        with pytest.raises(Malformed, match="cannot be read as Parquet"):
            list(rows(wrong, Columns()))
    whole = write(tmp_path / "whole.parquet")
    with pytest.raises(Malformed, match="no column 'Preis'; there are Invoice"):
        list(rows(whole, columns_from(["price=Preis"])))
    table = parquet.read_table(whole)
    nested = table.set_column(0, "Invoice", pyarrow.array([["x"]] * table.num_rows))
    parquet.write_table(nested, tmp_path / "nested.parquet")
    with pytest.raises(Malformed, match="nested values"):
        list(rows(tmp_path / "nested.parquet", Columns()))
