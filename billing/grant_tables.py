"""The tables of recharges and grant rules, beside those of ``billing.tables``."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, Table, Text

from billing.tables import metadata

_STAMP = DateTime(timezone=True)

recharge = Table(
    "recharge",
    metadata,
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),  # json | csv | estimate
    Column("mode", Text, nullable=False),  # atomic | partial
    Column("operator", Text, nullable=False),  # a label that the caller wrote
    Column("reason", Text, nullable=False),
    Column("maker", Text, nullable=False),  # the person behind the key
    Column("content_sha256", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("refused", Integer, nullable=False),  # rows that had an error from the start
    Column("tokens", BigInteger, nullable=False),  # of the rows that can be booked
    Column("approval", Text),  # null: small enough to be booked at once
    Column("created_at", _STAMP, nullable=False),
    Column("booked_at", _STAMP),
    Column("booked", Integer),  # how many rows that were
)

# The recharge log: one line per row, good or bad, append-only. The balances before and after stand
# in the journal that booked the line.
recharge_row = Table(
    "recharge_row",
    metadata,
    Column("recharge", Text, primary_key=True),
    Column("row", Integer, primary_key=True),
    Column("named", Text, nullable=False),  # the user as the caller wrote it
    Column("tenant", Text),
    Column("amount", BigInteger),
    Column("expires_at", _STAMP),
    Column("error", Text),  # code; such a row is never booked
    Column("detail", Text),
)
