"""The tables of recharges and grant rules, beside those of ``billing.tables``."""

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

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

grant_rule = Table(
    "grant_rule",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # daily | monthly | reward | campaign
    Column("amount", BigInteger, nullable=False),
    Column("tenant_group", Text),  # null: whatever group
    Column("tenants", JSONB(none_as_null=True)),  # ids; null: whoever is in the group
    Column("month_day", Integer),
    Column("measure", Text),  # reward: jobs | outputs
    Column("at_least", Integer),
    Column("starts_at", _STAMP, nullable=False),
    Column("ends_at", _STAMP),
    Column("lifetime_days", Integer),
    Column("expires_at", _STAMP),
    Column("priority", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("enabled_at", _STAMP, nullable=False),  # of the last time; nothing older is caught up
    Column("maker", Text, nullable=False),
    Column("created_at", _STAMP, nullable=False),
)

# Which local dates a rule granted to whom: once each, by the primary key.
rule_grant = Table(
    "rule_grant",
    metadata,
    Column("rule", Text, primary_key=True),
    Column("local_date", Date, primary_key=True),
    Column("wallet", BigInteger, primary_key=True),
    Column("token_grant", BigInteger, nullable=False, unique=True),
)
