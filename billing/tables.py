"""The tables of schema ``billing`` as SQLAlchemy Core sees them.

The migration is the truth about constraints, triggers and functions; a test compares the columns.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(schema="billing")

_STAMP = DateTime(timezone=True)
_CLOCK = text("clock_timestamp()")

wallet = Table(
    "wallet",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("tenant", Text, nullable=False, unique=True),
    Column("available", BigInteger, nullable=False, server_default="0"),
    Column("held", BigInteger, nullable=False, server_default="0"),
    Column("debt", BigInteger, nullable=False, server_default="0"),
    Column("debt_limit", BigInteger, nullable=False, server_default="0"),
    Column("version", BigInteger, nullable=False, server_default="0"),
    Column("frozen_at", _STAMP),  # since then nothing new is held
    Column("frozen_reason", Text),
    Column("mode", Text, nullable=False, server_default="prepaid"),
    Column("credit_grant", BigInteger),  # what a postpaid wallet was lent
)

token_grant = Table(
    "token_grant",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("wallet", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("effective_at", _STAMP, nullable=False),
    Column("expires_at", _STAMP),
    Column("granted", BigInteger, nullable=False),
    Column("remaining", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False, server_default="0"),
    Column("spent", BigInteger, nullable=False, server_default="0"),
    Column("expired", BigInteger, nullable=False, server_default="0"),
    Column("revoked", BigInteger, nullable=False, server_default="0"),
    Column("open", Boolean, Computed("remaining > 0", persisted=True), nullable=False),
)

hold = Table(
    "hold",
    metadata,
    Column("id", Text, primary_key=True),
    Column("wallet", BigInteger, nullable=False),
    Column("job", Text, nullable=False, unique=True),
    Column("amount", BigInteger, nullable=False),
    Column("captured", BigInteger, nullable=False, server_default="0"),
    Column("released", BigInteger, nullable=False, server_default="0"),
    Column("state", Text, nullable=False, server_default="open"),
    Column("placed_at", _STAMP, nullable=False),
    Column("expires_at", _STAMP, nullable=False),
    Column("closed_at", _STAMP),
    Column("project", Text),
    Column("api_key", Text),
    Column("end_user", Text),
    Column("capped", Boolean, nullable=False, server_default="false"),  # hold_budget has rows
)

budget = Table(
    "budget",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("wallet", BigInteger, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("subject", Text, nullable=False),  # "*": each for itself; "" for the tenant
    Column("period", Text, nullable=False),
    Column("zone", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("created_at", _STAMP, nullable=False),
    Column("ended_at", _STAMP),
)

budget_usage = Table(
    "budget_usage",
    metadata,
    Column("budget", BigInteger, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("window_start", Date, primary_key=True),  # the first local date
    Column("reserved", BigInteger, nullable=False, server_default="0"),
    Column("used", BigInteger, nullable=False, server_default="0"),
    Column("carried", BigInteger, nullable=False, server_default="0"),  # used before the cap was
)

hold_budget = Table(
    "hold_budget",
    metadata,
    Column("hold", Text, primary_key=True),
    Column("budget", BigInteger, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("window_start", Date, nullable=False),
)

hold_grant = Table(
    "hold_grant",
    metadata,
    Column("hold", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("token_grant", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("wallet", BigInteger, primary_key=True),
    Column("idem_key", Text, nullable=False),  # unique per wallet
    Column("fingerprint", Text, nullable=False),  # the arguments; a replay must bring the same
    Column("kind", Text, nullable=False),
    Column("ref", Text, nullable=False),  # the job, or the grant
    Column("occurred_at", _STAMP, nullable=False),
    Column("booked_at", _STAMP, nullable=False, server_default=_CLOCK),
    Column("actor", Text, nullable=False),
    Column("approval", Text),  # who approved, where a rule asks for a second person
    Column("reverses", BigInteger),  # the journal that a correction takes back
    Column("available_after", BigInteger, nullable=False),
)

transfer = Table(
    "transfer",
    metadata,
    Column("journal", BigInteger, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("wallet", BigInteger, nullable=False),
    Column("debit", Text, nullable=False),
    Column("credit", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("token_grant", BigInteger),
)

approval = Table(
    "approval",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("payload", JSONB(none_as_null=True), nullable=False),
    Column("maker", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("checker", Text),
    Column("reason", Text),
    Column("result", JSONB(none_as_null=True)),
    Column("created_at", _STAMP, nullable=False),
    Column("expires_at", _STAMP, nullable=False),
    Column("decided_at", _STAMP),
)

budget_notice = Table(
    "budget_notice",
    metadata,
    Column("budget", BigInteger, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("window_start", Date, primary_key=True),
    Column("amount", BigInteger, primary_key=True),  # the limit that was crossed
    Column("percent", Integer, primary_key=True),
    Column("noted_at", _STAMP, nullable=False, server_default=_CLOCK),
)

balance_watch = Table(
    "balance_watch",
    metadata,
    Column("wallet", BigInteger, primary_key=True),
    Column("threshold", BigInteger, nullable=False),
    Column("low_since", _STAMP),  # told; null: the next fall below is news
)

rate_card_version = Table(
    "rate_card_version",
    metadata,
    Column("card", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("effective_from", _STAMP, nullable=False),  # until the next version's
    Column("published_at", _STAMP, nullable=False, server_default=_CLOCK),
    Column("body", JSONB, nullable=False),
    Column("published_by", Text, nullable=False, server_default="catalogue"),
)

# Everything else that sets a price: multipliers, factors of devices, tiers, packs, subscriptions.
pricing_rule = Table(
    "pricing_rule",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),  # a tenant or "*", a device, a name
    Column("version", Integer, primary_key=True),
    Column("effective_from", _STAMP, nullable=False),  # until the next version's
    Column("published_at", _STAMP, nullable=False, server_default=_CLOCK),
    Column("published_by", Text, nullable=False),
    Column("body", JSONB, nullable=False),
)

card_assignment = Table(
    "card_assignment",
    metadata,
    Column("tenant", Text, primary_key=True),  # "*": everybody else
    Column("engine", Text, primary_key=True),
    Column("card", Text, nullable=False),
)

usage_record = Table(
    "usage_record",
    metadata,
    Column("job", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("project", Text),
    Column("api_key", Text),
    Column("end_user", Text),
    Column("attempt", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("engine", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("quantities", JSONB, nullable=False),
    Column("attributes", JSONB, nullable=False),
    Column("gpu_us", BigInteger, nullable=False),
    Column("wall_us", BigInteger, nullable=False),
    Column("card", Text, nullable=False),
    Column("card_version", Integer, nullable=False),
    Column("quoted", BigInteger, nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("quarantined", Boolean, nullable=False),
    Column("recorded_at", _STAMP, nullable=False, server_default=_CLOCK),
    Column("multipliers", JSONB, nullable=False, server_default="[]"),
    Column("device_factor", Numeric, nullable=False, server_default="1"),
)

settlement_due = Table("settlement_due", metadata, Column("job", Text, primary_key=True))

# What reports read: written with each charge by a trigger.
usage_line = Table(
    "usage_line",
    metadata,
    Column("xid", BigInteger, primary_key=True),  # of the transaction that wrote it
    Column("job", Text, primary_key=True),
    Column("wallet", BigInteger, nullable=False),
    Column("settled_at", _STAMP, nullable=False),
    Column("project", Text),
    Column("api_key", Text),
    Column("end_user", Text),
    Column("engine", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("charged", BigInteger, nullable=False),
    Column("gpu_us", BigInteger, nullable=False),
)

usage_copy = Table(
    "usage_copy",
    metadata,
    Column("sink", Text, primary_key=True),
    Column("xid", BigInteger, nullable=False, server_default="0"),
    Column("job", Text, nullable=False, server_default=""),
    Column("sent_xid", BigInteger),  # a batch up to here is on its way
    Column("sent_job", Text),
    Column("lines", BigInteger, nullable=False, server_default="0"),
    Column("moved_at", _STAMP),
)

charge = Table(
    "charge",
    metadata,
    Column("job", Text, primary_key=True),
    Column("wallet", BigInteger, nullable=False),
    Column("hold", Text, nullable=False, unique=True),
    Column("outcome", Text, nullable=False),
    Column("cached", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("card", Text, nullable=False),
    Column("card_version", Integer, nullable=False),
    Column("quantities", JSONB, nullable=False),
    Column("attributes", JSONB, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("multipliers", JSONB, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("charged", BigInteger, nullable=False),
    Column("released", BigInteger, nullable=False),
    Column("lapsed", BigInteger, nullable=False),  # the part of released whose grant had expired
    Column("absorbed", BigInteger, nullable=False),
    Column("available_after", BigInteger, nullable=False),
    Column("settled_at", _STAMP, nullable=False),
)

# ``refunded_after`` is the running total of a job's refunds.
refund = Table(
    "refund",
    metadata,
    Column("job", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("wallet", BigInteger, nullable=False),
    Column("journal", BigInteger, nullable=False, unique=True),
    Column("amount", BigInteger, nullable=False),
    Column("refunded_after", BigInteger, nullable=False),
    Column("charged", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("refunded_at", _STAMP, nullable=False),
)

# ``day`` is set by the nightly one: there is one of it a day. Open until ``finished_at``.
reconciliation = Table(
    "reconciliation",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("asked_by", Text, nullable=False),
    Column("day", Date, unique=True),
    Column("started_at", _STAMP, nullable=False),
    Column("finished_at", _STAMP),
    Column("transfers", BigInteger),
    Column("findings", BigInteger),
)

finding = Table(
    "finding",
    metadata,
    Column("reconciliation", BigInteger, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("code", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("tenant", Text),
)

audit_action = Table(
    "audit_action",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", _STAMP, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
)

# The hash chain: each row is an action or a journal. Written by triggers and ``seal_journals``.
audit_entry = Table(
    "audit_entry",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("action", BigInteger, unique=True),
    Column("wallet", BigInteger),
    Column("journal", BigInteger, unique=True),
    Column("sealed_at", _STAMP, nullable=False, server_default=_CLOCK),
    Column("digest", LargeBinary, nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("one", Boolean, primary_key=True, server_default="true"),
    Column("seq", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
)

audit_due = Table(
    "audit_due",
    metadata,
    Column("wallet", BigInteger, nullable=False),
    Column("journal", BigInteger, nullable=False),
)
