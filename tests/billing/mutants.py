"""Ledgers that are wrong on purpose: each mutant must be noticed by a property.

A mutation is a piece of SQL (a function's text, a constraint) or of a Python module, replaced
for the time of one test.
"""

import importlib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class InFunction:
    """A piece of a SQL function, and what stands there instead."""

    name: str
    right: str
    wrong: str


@dataclass(frozen=True, slots=True)
class InModule:
    """A piece of a Python module, and what stands there instead."""

    name: str
    right: str
    wrong: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """A constraint that is missing."""

    table: str
    constraint: str


Mutation = InFunction | InModule | Dropped

IN_ONE_SESSION: dict[str, Sequence[Mutation]] = {
    # The named six of the design, but for the order of locks, which takes two sessions.
    "over-refund": (
        InModule("billing.refunds", "if wanted > left or wanted == 0:", "if wanted == 0:"),
        Dropped("refund", "refund_check"),
        Dropped("token_grant", "token_grant_spent_check"),
    ),
    "expired grant spendable": (
        InFunction(
            "place_hold", "v_at := coalesce(p_now, clock_timestamp())", "v_at := '2000-01-01'"
        ),
    ),
    "missing unique key": (
        Dropped("journal", "journal_wallet_idem_key_key"),
        InModule("billing.ledger", "if entry is None:", "if entry is None or True:"),
    ),
    "settle without fence": (
        InFunction("settle_holds", "WHERE h.state = 'open'", "WHERE h.state IS NOT NULL"),
        InFunction("settle_holds", "h.state IN ('captured', 'released')", "false"),
    ),
    "capture above hold": (
        InFunction("settle_holds", "least(a.price, h.amount) AS taken", "a.price AS taken"),
    ),
    # And others.
    "more is given back than is left": (
        InFunction(
            "settle_holds",
            "remaining = g.remaining + s.returned",
            "remaining = g.remaining + s.amount",
        ),
    ),
    "expired tokens come back to life": (
        InFunction("settle_holds", "g.expires_at <= v_at THEN 'breakage'", "false THEN 'breakage'"),
    ),
    "the youngest grant is drawn first": (
        InFunction(
            "place_hold", "g.expires_at NULLS LAST, g.id", "g.expires_at NULLS LAST, g.id DESC"
        ),
    ),
    "expired tokens move without a transfer": (
        InFunction(
            "shed_expired",
            "VALUES (v_journal, 1, p_wallet, 'available', 'breakage', old.remaining, old.id)",
            "SELECT 0, 0, 0, '', '', 0, 0 WHERE false",
        ),
    ),
    "credit beyond the limit": (
        InFunction("place_hold", "v_lent > v_wallet.credit", "false"),
        Dropped("wallet", "wallet_check"),
    ),
    "a late settlement draws what is not there": (
        InFunction(
            "settle_late",
            "least(p_price, v_hold.amount, v_hold.available)",
            "least(p_price, v_hold.amount)",
        ),
    ),
    "a hold is given back twice": (InFunction("void_hold", "v_hold.state <> 'open'", "false"),),
    "an entry is reversed twice": (
        InModule("billing.corrections", 'if known["approval"] == approval:', "if False:"),
    ),
    "unused credit stays owed": (
        InFunction("settle_holds", "debt = w.debt - t.unlent", "debt = w.debt"),
    ),
}

LOCK_ORDER_SWAPPED = (
    InFunction("settle_holds", "ORDER BY w.id FOR UPDATE", "ORDER BY w.id DESC FOR UPDATE"),
)


@contextmanager
def planted(engine: Engine, mutations: Sequence[Mutation]) -> Iterator[None]:
    """Make the ledger wrong; SQL stays wrong (the database is the test's own), Python does not."""
    with ExitStack() as stack:
        for mutation in mutations:
            match mutation:
                case InFunction():
                    _replace_function(engine, mutation)
                case InModule():
                    stack.enter_context(_replaced_module(mutation))
                case Dropped(table, constraint):
                    with engine.begin() as connection:
                        connection.exec_driver_sql(
                            f"ALTER TABLE billing.{table} DROP CONSTRAINT {constraint}"
                        )
        yield


def _replace_function(engine: Engine, mutation: InFunction) -> None:
    with Session(engine) as session, session.begin():
        source = session.scalar(
            text("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = :name"),
            {"name": mutation.name},
        )
        assert source is not None
        assert mutation.right in source, mutation
        wrong = source.replace(mutation.right, mutation.wrong)
        session.connection().exec_driver_sql(wrong.replace("%", "%%"))


@contextmanager
def _replaced_module(mutation: InModule) -> Iterator[None]:
    """Only functions are replaced: classes keep their identity for whoever imported them."""
    module = importlib.import_module(mutation.name)
    source = inspect.getsource(module)
    assert mutation.right in source, mutation
    scratch = dict(vars(module))
    exec(compile(source.replace(mutation.right, mutation.wrong), mutation.name, "exec"), scratch)
    kept = {}
    for name, value in vars(module).items():
        if inspect.isfunction(value) and value.__module__ == mutation.name:
            kept[name] = value.__code__
            value.__code__ = scratch[name].__code__
    try:
        yield
    finally:
        for name, code in kept.items():
            getattr(module, name).__code__ = code
