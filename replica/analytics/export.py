"""Tables written to a file: JSON Lines, CSV or Parquet, by the ending of its name.

The same rows give the same bytes. Columns keep their order; integers stay integers (money in minor
units beside its currency, times in milliseconds); lists are JSON text in CSV and Parquet.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from replica.analytics.history import Entry, plain_body
from replica.errors import MisuseError
from replica.limits import EXPORT_ROWS

Row = Mapping[str, Any]

EVENT_COLUMNS: Mapping[str, type] = {
    "position": int,
    "id": str,
    "kind": str,
    "version": int,
    "origin": str,
    "device": str,
    "epoch": int,
    "seq": int,
    "author_ms": int,
    "event_ms": int,
    "received_ms": int,
    "disputed": bool,
    "payload": dict,
}


class Written(NamedTuple):
    """How many rows went into a file, and the SHA-256 of it in hexadecimal."""

    rows: int
    sha256: str


def event_row(entry: Entry) -> dict[str, Any]:
    """The columns of ``EVENT_COLUMNS``."""
    return {
        "position": entry.position,
        "id": entry.id.hex(),
        "kind": entry.kind,
        "version": entry.version,
        "origin": entry.origin.name.lower(),
        "device": entry.device.hex(),
        "epoch": entry.epoch,
        "seq": entry.seq,
        "author_ms": entry.author_ms,
        "event_ms": entry.event_ms,
        "received_ms": entry.received_ms,
        "disputed": entry.disputed,
        "payload": plain_body(entry.body),
    }


def flat(row: Row, prefix: str = "") -> dict[str, Any]:
    """``row`` with what is nested in it as columns of its own: ``content.total_minor``. Lists stay.

    For tables; a record with an unknown shape keeps it in JSON Lines.
    """
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def columns_of(rows: Iterable[Row]) -> dict[str, type]:
    """Columns and types as ``rows`` have them; a column of nothing but None is text."""
    found: dict[str, type] = {}
    for row in rows:
        for name, value in row.items():
            if value is not None:
                found[name] = dict if isinstance(value, dict | list) else type(value)
            else:
                found.setdefault(name, type(None))
    return {name: str if kind is type(None) else kind for name, kind in found.items()}


def write(path: Path, columns: Mapping[str, type], rows: Iterable[Row]) -> Written:
    """Write ``rows`` to ``path``, a piece at a time.

    Raises ``MisuseError`` for an ending that is no format, and where Parquet needs the extra
    ``history`` that is not installed.
    """
    writer = _WRITERS.get(path.suffix)
    if writer is None:
        raise MisuseError(
            f"{path.name} has no known ending", hint=f"end it in {', '.join(sorted(_WRITERS))}"
        )
    count = writer(path, columns, rows)
    with path.open("rb") as file:
        digest = sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return Written(count, digest.hexdigest())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _cells(row: Row, columns: Mapping[str, type]) -> dict[str, Any]:
    found = ((name, row.get(name)) for name in columns)
    return {
        name: _json(value) if isinstance(value, dict | list) else value for name, value in found
    }


def _write_jsonl(path: Path, columns: Mapping[str, type], rows: Iterable[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(_json({name: row.get(name) for name in columns}) + "\n")
            count += 1
    return count


def _write_csv(path: Path, columns: Mapping[str, type], rows: Iterable[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(_cells(row, columns))
            count += 1
    return count


def _write_parquet(path: Path, columns: Mapping[str, type], rows: Iterable[Row]) -> int:
    try:
        import pyarrow  # noqa: PLC0415  an extra: only this format needs it
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise MisuseError(
            "writing Parquet needs pyarrow", hint="pip install 'replica[history]'"
        ) from error
    types = {int: pyarrow.int64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema(
        [(name, types.get(kind, pyarrow.string())) for name, kind in columns.items()]
    )
    count = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for piece in _pieces(rows):
            flat = [_cells(row, columns) for row in piece]
            writer.write_table(pyarrow.Table.from_pylist(flat, schema))
            count += len(flat)
    return count


def _pieces(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    iterator = iter(rows)
    while piece := list(islice(iterator, EXPORT_ROWS)):
        yield piece


_WRITERS: Mapping[str, Callable[[Path, Mapping[str, type], Iterable[Row]], int]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
