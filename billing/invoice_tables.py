"""The tables of purchases and invoices, beside those of ``billing.tables``."""

from sqlalchemy import BigInteger, Column, Date, DateTime, Identity, Integer, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from billing.tables import metadata

_STAMP = DateTime(timezone=True)

subscription = Table(
    "subscription",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("plan", Text, nullable=False),
    Column("started_on", Date, nullable=False),  # a local date; cycles are counted from it
    Column("canceled_on", Date),  # no cycle begins on this day or later
    Column("actor", Text, nullable=False),
    Column("idem_key", Text, nullable=False),
)

purchase = Table(
    "purchase",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("idem_key", Text, nullable=False),
    Column("kind", Text, nullable=False),  # pack | subscription
    Column("item", Text, nullable=False),  # the pack or plan, at this version
    Column("version", Integer, nullable=False),
    Column("subscription", BigInteger),
    Column("period_start", Date),
    Column("period_end", Date),
    Column("tokens", BigInteger, nullable=False),
    Column("token_price", Numeric),  # locked on the grant
    Column("amount", Numeric(16, 2), nullable=False),
    Column("token_grant", BigInteger),
    Column("actor", Text, nullable=False),
    Column("bought_at", _STAMP, nullable=False),
)

invoice = Table(
    "invoice",
    metadata,
    Column("number", Text, primary_key=True),
    Column("year", Integer, nullable=False),
    Column("seq", Integer, nullable=False),  # without gaps within a year
    Column("tenant", Text, nullable=False),
    Column("month", Date, nullable=False),
    Column("zone", Text, nullable=False),
    Column("period_start", _STAMP, nullable=False),
    Column("period_end", _STAMP, nullable=False),
    Column("issued_at", _STAMP, nullable=False),
    Column("total", Numeric(16, 2), nullable=False),
    Column("body", JSONB, nullable=False),
)

tier_notice = Table(
    "tier_notice",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("month", Date, primary_key=True),
    Column("band", Integer, primary_key=True),
    Column("told_at", _STAMP, nullable=False),
)
