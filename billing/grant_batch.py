"""Many grants at once: the set-based half of the ledger's writer.

Rows are put into a table of the transaction (``stage``) and booked by a handful of statements,
whatever their number (``book_staged``): for each row a grant, a journal and a transfer, and the
sums on the wallets. The same locks in the same order as for one grant: wallets (rising by id),
grants, journal.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

import psycopg
from sqlalchemy import CursorResult, text
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens
from billing.grants import GrantKind
from billing.ledger import SOURCES

# Far below what a BIGINT holds: a wallet above it takes no more, so sums cannot overflow.
BALANCE_MAX: Final = 2**62


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One grant to be made. ``idem_key`` comes from facts and is booked once per wallet."""

    seq: int  # names the row in the answer; unique in the batch
    tenant: str
    kind: GrantKind
    amount: MicroTokens
    idem_key: str
    priority: int
    effective_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class BookedRow:
    """A grant that was made, with the balance of its wallet around it."""

    seq: int
    tenant: str
    grant: int
    amount: MicroTokens
    before: MicroTokens
    after: MicroTokens


_STAGE: Final = """
DROP TABLE IF EXISTS pg_temp.staged_grant, pg_temp.booked_grant;
CREATE TEMP TABLE staged_grant (
    seq integer, tenant text, kind text, amount bigint, idem_key text, priority integer,
    effective_at timestamptz, expires_at timestamptz
) ON COMMIT DROP
"""
_COPY: Final = "COPY pg_temp.staged_grant FROM STDIN"
# Plans that read the whole wallet table are right for thousands of rows and wrong for ten; the
# planner sees how large the staged table is, so nothing is told to it here.
_LOCK = text(
    """
    SELECT count(*) FROM (
        SELECT w.id FROM billing.wallet w
         WHERE w.tenant IN (SELECT s.tenant FROM pg_temp.staged_grant s)
         ORDER BY w.id FOR UPDATE) locked
    """
)
_SHED = text(
    """
    SELECT billing.shed_expired(w.id, :now) FROM billing.wallet w
     WHERE w.tenant IN (SELECT s.tenant FROM pg_temp.staged_grant s)
       AND EXISTS (SELECT FROM billing.token_grant g
                    WHERE g.wallet = w.id AND g.open AND g.expires_at <= :now)
    """
)
# What is booked before is left out, and so is who has no wallet or has more than enough.
_CHOOSE = text(
    """
    CREATE TEMP TABLE booked_grant ON COMMIT DROP AS
    SELECT r.*, nextval('billing.token_grant_id_seq') AS token_grant,
           nextval('billing.journal_id_seq') AS journal
      FROM (SELECT s.*, w.id AS wallet,
                   (w.available + sum(s.amount) OVER walk - s.amount)::bigint AS before,
                   (w.available + sum(s.amount) OVER walk)::bigint AS after
              FROM pg_temp.staged_grant s JOIN billing.wallet w ON w.tenant = s.tenant
             WHERE w.available + w.held <= :balance_max
               AND NOT EXISTS (SELECT FROM billing.journal j
                                WHERE j.wallet = w.id AND j.idem_key = s.idem_key)
            WINDOW walk AS (PARTITION BY w.id ORDER BY s.seq ROWS UNBOUNDED PRECEDING)) r
     ORDER BY r.wallet, r.seq
    """
)
_SOURCE_OF_KIND = " ".join(f"WHEN '{kind}' THEN '{name}'" for kind, name in SOURCES.items())
_BOOK = (
    text(
        """
        INSERT INTO billing.token_grant (id, wallet, kind, priority, effective_at, expires_at,
                                         granted, remaining) OVERRIDING SYSTEM VALUE
        SELECT token_grant, wallet, kind, priority, effective_at, expires_at, amount, amount
          FROM pg_temp.booked_grant
        """
    ),
    text(
        """
        UPDATE billing.wallet w SET available = w.available + b.amount, version = w.version + 1
          FROM (SELECT wallet, sum(amount) AS amount FROM pg_temp.booked_grant GROUP BY wallet) b
         WHERE w.id = b.wallet
        """
    ),
    text(
        """
        INSERT INTO billing.journal (id, wallet, idem_key, fingerprint, kind, ref, occurred_at,
                                     actor, approval, available_after) OVERRIDING SYSTEM VALUE
        SELECT journal, wallet, idem_key,
               concat_ws(':', kind, amount, priority, extract(epoch FROM expires_at)),
               'grant', token_grant::text, :now,
               CAST(:actor AS text), CAST(:approval AS text), after
          FROM pg_temp.booked_grant
        """
    ),
    text(
        f"""
        INSERT INTO billing.transfer (journal, seq, wallet, debit, credit, amount, token_grant)
        SELECT journal, 1, wallet, CASE kind {_SOURCE_OF_KIND} END, 'available', amount,
               token_grant
          FROM pg_temp.booked_grant
        """  # noqa: S608 - constants
    ),
)
_BOOKED = text(
    "SELECT seq, tenant, token_grant, amount, before, after FROM pg_temp.booked_grant ORDER BY seq"
)


def open_stage(session: Session) -> None:
    """Make the empty table ``pg_temp.staged_grant`` (columns as in ``BatchRow``) to be filled."""
    with driver_connection(session).cursor() as cursor:
        cursor.execute(_STAGE)


def stage(session: Session, rows: Iterable[BatchRow]) -> None:
    """Open the stage and copy rows into it."""
    open_stage(session)
    with driver_connection(session).cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            copy.write_row(
                (
                    row.seq,
                    row.tenant,
                    row.kind.value,
                    row.amount,
                    row.idem_key,
                    row.priority,
                    row.effective_at,
                    row.expires_at,
                )
            )


def book_staged(session: Session, *, actor: str, approval: str | None = None, now: datetime) -> int:
    """Make the staged grants that were not made before; returns how many that were.

    Left out are a key that was booked before, whatever it said, a tenant without a wallet, and a
    wallet above ``BALANCE_MAX``. A row whose time is over already is booked all the same: the
    sweeper takes it back, and both stand in the journal.
    """
    session.execute(_LOCK)
    session.execute(_SHED, {"now": now})
    chosen = cast(
        CursorResult[Any], session.execute(_CHOOSE, {"balance_max": BALANCE_MAX})
    ).rowcount
    if chosen == 0:
        return 0
    values = {"now": now, "actor": actor, "approval": approval}
    for statement in _BOOK:
        wanted = statement.compile().params
        session.execute(statement, {name: values[name] for name in wanted})
    return chosen


def booked_rows(session: Session) -> list[BookedRow]:
    """What ``book_staged`` made in this transaction, in the order of ``seq``."""
    return [BookedRow(*row) for row in session.execute(_BOOKED)]


def driver_connection(session: Session) -> psycopg.Connection[Any]:
    """The psycopg connection of the session's transaction, for COPY."""
    found = session.connection().connection.driver_connection
    assert isinstance(found, psycopg.Connection)  # noqa: S101 - the one dialect of this product
    return found
