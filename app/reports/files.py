"""Reports as files, written row by row: CSV that no spreadsheet runs, and Parquet with types."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import IO, Any, Final

import pyarrow as pa
from pyarrow import parquet

from app.recharges.csv_file import safe_cell

ROWS_PER_GROUP: Final = 10_000
_TOKENS: Final = pa.decimal128(22, 6)  # as exact as the ledger
_TYPES: Final[Mapping[str, pa.DataType]] = {
    "start": pa.timestamp("us", tz="UTC"),
    "jobs": pa.int64(),
    "tokens": _TOKENS,
    "average_tokens": pa.float64(),
    "gpu_ms": pa.float64(),
    "failures": pa.int64(),
    "cache_hits": pa.int64(),
}


class ReportFormat(StrEnum):
    """How a report is answered."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


MEDIA_TYPES: Final = {
    ReportFormat.JSON: "application/json",
    ReportFormat.CSV: "text/csv",
    ReportFormat.PARQUET: "application/vnd.apache.parquet",
}


def write_csv(
    file: IO[bytes], rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str]
) -> None:
    """Write a header and a line per row, as UTF-8; no cell is a formula."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow(_cell(row[name]) for name in columns)
    text.detach()  # the caller's file stays open


def write_parquet(
    file: IO[bytes], rows: Iterable[Mapping[str, Any]], *, columns: Sequence[str]
) -> None:
    """Write one file of typed columns, ten thousand rows at a time."""
    schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in columns])
    remaining = iter(rows)
    with parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(remaining, ROWS_PER_GROUP)):
            arrays = [
                pa.array([_typed(name, row[name]) for row in group], type=schema.field(name).type)
                for name in columns
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _cell(value: object) -> str:
    """A number as it is, also below zero; a text never as a formula."""
    match value:
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bool() | int():
            return str(value)
        case float():
            return format(Decimal(str(value)), "f")
        case _:
            return safe_cell(value)


def _typed(name: str, value: object) -> object:
    return Decimal(str(value)) if name == "tokens" else value
