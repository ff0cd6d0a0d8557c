"""Compare every cached number with the transfers it must follow from. Reads only.

Transfers are the truth. Wallet columns, grant columns, holds and their pins are each compared with
them row by row, so what follows over rows (available = its grants, held = its open holds) holds
too. Charges are compared with their holds and computed again from what they store.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from billing.multipliers import read_multipliers
from billing.rates import Price, Work
from billing.settlement import line_json, published_card, rate_or_free


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken promise; amounts in the detail are micro-tokens."""

    code: str  # which promise: a key of ``CHECKS``, or "charge_recomputes"
    subject: str  # the row, such as "wallet 7"
    detail: str


# code -> (subject, detail) of every row that breaks the promise; numbers are those of the
# invariants in README.md.
CHECKS: Final = {
    # 1. a transfer goes between two accounts, moves more than nothing, belongs to a journal of
    # the same wallet, and what touches a wallet's tokens names their grant
    "transfer_malformed": """
        SELECT format('transfer %s/%s', t.journal, t.seq),
               format('%s -> %s %s grant %s', t.debit, t.credit, t.amount, t.token_grant)
          FROM billing.transfer t
          LEFT JOIN billing.journal j ON j.id = t.journal AND j.wallet = t.wallet
          LEFT JOIN billing.token_grant g ON g.id = t.token_grant AND g.wallet = t.wallet
         WHERE t.amount <= 0 OR t.debit = t.credit OR j.id IS NULL
            OR (g.id IS NULL AND (t.token_grant IS NOT NULL OR t.debit IN ('available', 'held')
                                  OR t.credit IN ('available', 'held')))
    """,
    # 2, 3, 4, 6. a wallet's columns are the sums of its transfers, and not negative
    "wallet_differs": """
        SELECT format('wallet %s', w.id),
               format('available %s held %s debt %s, transfers say %s, %s and %s',
                      w.available, w.held, w.debt, s.available, s.held, s.debt)
          FROM billing.wallet w LEFT JOIN (
               SELECT t.wallet,
                      sum(CASE 'available' WHEN t.credit THEN t.amount WHEN t.debit THEN -t.amount
                          ELSE 0 END) AS available,
                      sum(CASE 'held' WHEN t.credit THEN t.amount WHEN t.debit THEN -t.amount
                          ELSE 0 END) AS held,
                      sum(CASE 'debt' WHEN t.debit THEN t.amount WHEN t.credit THEN -t.amount
                          ELSE 0 END) AS debt
                 FROM billing.transfer t GROUP BY t.wallet) s ON s.wallet = w.id
         WHERE (w.available, w.held, w.debt)
               <> (coalesce(s.available, 0), coalesce(s.held, 0), coalesce(s.debt, 0))
            OR least(w.available, w.held, w.debt) < 0
    """,
    # 2, 3, 5, 6, 11. so are a grant's, and they make up what was granted
    "grant_differs": """
        SELECT format('grant %s', g.id),
               format('granted %s remaining %s held %s spent %s expired %s revoked %s, transfers'
                      ' say %s, %s, %s, %s, %s and %s', g.granted, g.remaining, g.held, g.spent,
                      g.expired, g.revoked, s.granted, s.remaining, s.held, s.spent, s.expired,
                      s.revoked)
          FROM billing.token_grant g LEFT JOIN (
               SELECT m.token_grant, sum(m.granted) AS granted, sum(m.remaining) AS remaining,
                      sum(m.held) AS held, sum(m.spent) AS spent, sum(m.expired) AS expired,
                      sum(m.revoked) AS revoked
                 FROM billing.transfer t,
                      billing.grant_moves(t.debit, t.credit, t.amount, t.token_grant) m
                GROUP BY m.token_grant) s ON s.token_grant = g.id
         WHERE (g.granted, g.remaining, g.held, g.spent, g.expired, g.revoked)
               <> (coalesce(s.granted, 0), coalesce(s.remaining, 0), coalesce(s.held, 0),
                   coalesce(s.spent, 0), coalesce(s.expired, 0), coalesce(s.revoked, 0))
            OR g.granted <> g.remaining + g.held + g.spent + g.expired + g.revoked
            OR least(g.remaining, g.held, g.spent, g.expired, g.revoked) < 0
    """,
    # 7. a hold moved its amount in once and, once closed, out again: captured and released
    "hold_differs": """
        SELECT format('hold %s', h.id),
               format('%s of %s captured %s released %s, transfers say %s in, %s and %s out',
                      h.state, h.amount, h.captured, h.released, s.held, s.captured, s.released)
          FROM billing.hold h LEFT JOIN (
               SELECT j.wallet, j.ref,
                      sum(CASE t.credit WHEN 'held' THEN t.amount ELSE 0 END) AS held,
                      sum(CASE WHEN t.debit = 'held' AND t.credit = 'revenue' THEN t.amount
                          ELSE 0 END) AS captured,
                      sum(CASE WHEN t.debit = 'held' AND t.credit <> 'revenue' THEN t.amount
                          ELSE 0 END) AS released
                 FROM billing.journal j JOIN billing.transfer t ON t.journal = j.id
                WHERE j.kind IN ('hold', 'settle', 'void')
                GROUP BY j.wallet, j.ref) s ON s.wallet = h.wallet AND s.ref = h.job
         WHERE (h.amount, h.captured, h.released)
               <> (coalesce(s.held, 0), coalesce(s.captured, 0), coalesce(s.released, 0))
            OR h.captured + h.released <> CASE h.state WHEN 'open' THEN 0 ELSE h.amount END
    """,
    # 8. the pins of a hold are what its transfers drew from each grant
    "hold_pins": """
        SELECT format('hold %s', coalesce(p.hold, d.hold)),
               format('grant %s pinned %s, transfers say %s',
                      coalesce(p.token_grant, d.token_grant), p.amount, d.amount)
          FROM billing.hold_grant p FULL JOIN (
               SELECT h.id AS hold, t.token_grant, t.amount
                 FROM billing.journal j
                 JOIN billing.transfer t ON t.journal = j.id
                 JOIN billing.hold h ON h.job = j.ref
                WHERE j.kind = 'hold') d ON d.hold = p.hold AND d.token_grant = p.token_grant
         WHERE p.amount IS DISTINCT FROM d.amount
    """,
    # 9. a charge says what its settlement moved, and never more than the quote
    "charge_differs": """
        SELECT format('job %s', c.job),
               format('charged %s released %s lapsed %s absorbed %s, transfers say %s, %s, %s and'
                      ' %s, quoted %s', c.charged, c.released, c.lapsed, c.absorbed, s.charged,
                      s.released, s.lapsed, s.absorbed, u.quoted)
          FROM billing.charge c
          JOIN billing.usage_record u ON u.job = c.job
          LEFT JOIN (
               SELECT j.wallet, j.ref,
                      sum(CASE WHEN t.debit IN ('held', 'available') AND t.credit = 'revenue'
                          THEN t.amount ELSE 0 END) AS charged,
                      sum(CASE WHEN t.debit = 'held' AND t.credit <> 'revenue' THEN t.amount
                          ELSE 0 END) AS released,
                      sum(CASE WHEN t.debit = 'held' AND t.credit = 'breakage' THEN t.amount
                          ELSE 0 END) AS lapsed,
                      sum(CASE t.debit WHEN 'overrun_absorbed' THEN t.amount ELSE 0 END) AS absorbed
                 FROM billing.journal j JOIN billing.transfer t ON t.journal = j.id
                WHERE j.kind = 'settle'
                GROUP BY j.wallet, j.ref) s ON s.wallet = c.wallet AND s.ref = c.job
         WHERE (c.charged, c.released, c.lapsed, c.absorbed)
               <> (coalesce(s.charged, 0), coalesce(s.released, 0), coalesce(s.lapsed, 0),
                   coalesce(s.absorbed, 0))
            OR c.charged > u.quoted
    """,
    # 18. the windows of a cap are what its holds reserve and were charged, and what it found
    "budget_differs": """
        SELECT format('budget %s', u.budget),
               format('%s from %s: reserved %s used %s, holds say %s and %s', u.subject,
                      u.window_start, u.reserved, u.used, s.reserved, s.used + u.carried)
          FROM billing.budget_usage u LEFT JOIN (
               SELECT p.budget, p.subject, p.window_start,
                      sum(CASE h.state WHEN 'open' THEN h.amount ELSE 0 END) AS reserved,
                      sum(h.captured + coalesce(c.charged, 0)) AS used
                 FROM billing.hold_budget p JOIN billing.hold h ON h.id = p.hold
                 LEFT JOIN billing.charge c ON c.job = h.job AND c.status = 'late'
                GROUP BY p.budget, p.subject, p.window_start) s
               USING (budget, subject, window_start)
         WHERE (u.reserved, u.used)
               <> (coalesce(s.reserved, 0), coalesce(s.used, 0) + u.carried)
    """,
    # 14. refunds are what their journals moved, and at most the charge
    "refund_differs": """
        SELECT format('job %s', r.job),
               format('refunded %s of %s, transfers say %s, charged %s', r.refunded, r.charged,
                      s.amount, c.charged)
          FROM (SELECT r.job, r.wallet, sum(r.amount) AS refunded, max(r.charged) AS charged
                  FROM billing.refund r GROUP BY r.job, r.wallet) r
          LEFT JOIN billing.charge c ON c.job = r.job
          LEFT JOIN (
               SELECT j.wallet, j.ref, sum(t.amount) AS amount
                 FROM billing.journal j JOIN billing.transfer t ON t.journal = j.id
                WHERE j.kind = 'refund'
                GROUP BY j.wallet, j.ref) s ON s.wallet = r.wallet AND s.ref = r.job
         WHERE r.refunded IS DISTINCT FROM s.amount OR c.charged IS DISTINCT FROM r.charged
            OR r.refunded > c.charged
    """,
    # every closed hold has a charge, unless it was given back to a job that never ended
    "charge_missing": """
        SELECT format('job %s', h.job), format('hold %s is %s without a charge', h.id, h.state)
          FROM billing.hold h LEFT JOIN billing.charge c ON c.job = h.job
         WHERE h.state IN ('captured', 'released') AND c.job IS NULL
    """,
    # every usage record is charged or on the work list
    "usage_forgotten": """
        SELECT format('job %s', u.job), 'usage is recorded, neither charged nor waiting for it'
          FROM billing.usage_record u
          JOIN billing.hold h ON h.job = u.job AND h.state IN ('open', 'expired')
          LEFT JOIN billing.settlement_due d ON d.job = u.job
          LEFT JOIN billing.charge c ON c.job = u.job
         WHERE d.job IS NULL AND c.job IS NULL
    """,
    # a hold ends with its job, or is given back two days after the last sign of life
    "hold_overdue": """
        SELECT format('hold %s', h.id), format('open since %s, until %s', h.placed_at, h.expires_at)
          FROM billing.hold h
         WHERE h.state = 'open' AND h.expires_at < clock_timestamp() - interval '2 days'
    """,
}

# Charges that say the same of the same work, once: most jobs are like others. Then, for those
# that do not come out again, whose they are.
_CHARGES = text(
    """
    SELECT x.*, c.body::text AS body
      FROM (SELECT outcome, cached, quantities, attributes, multipliers, lines, price, card,
                   card_version
              FROM billing.charge
             GROUP BY outcome, cached, quantities, attributes, multipliers, lines, price, card,
                      card_version) x
      JOIN billing.rate_card_version c ON c.card = x.card AND c.version = x.card_version
    """
)
_JOBS_CHARGED_SO = text(
    """
    SELECT job FROM billing.charge
     WHERE outcome = :outcome AND cached = :cached AND quantities = CAST(:quantities AS jsonb)
       AND attributes = CAST(:attributes AS jsonb) AND lines = CAST(:lines AS jsonb)
       AND multipliers = CAST(:multipliers AS jsonb) AND price = :price AND card = :card
       AND card_version = :card_version
     ORDER BY job
    """
)
_CHUNK = 1000
# Millions of rows are hashed and joined; with less they go through files.
_ROOM = text("SET LOCAL work_mem = '128MB'")
_JSON = ("quantities", "attributes", "lines", "multipliers")


def check(session: Session) -> list[Finding]:
    """Look at one snapshot of everything; an empty list means that the books are right.

    Takes a session that has not begun a transaction, and leaves a read-only one to be ended.
    """
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    session.execute(_ROOM)
    findings = [
        Finding(code, row[0], row[1])
        for code, query in CHECKS.items()
        for row in session.execute(text(query))
    ]
    return [*findings, *wrong_charges(session)]


def wrong_charges(session: Session) -> Iterator[Finding]:
    """20. Charges that do not come out again from the quantities and the card they name."""
    rows = session.execute(_CHARGES, execution_options={"yield_per": _CHUNK}).mappings()
    wrong = [(dict(row), again) for row in rows if (again := _differs(row)) is not None]
    for row, again in wrong:
        values = {**row, **{name: json.dumps(row[name]) for name in _JSON}}
        lines = json.dumps([line_json(line) for line in again.lines])
        for job in session.scalars(_JOBS_CHARGED_SO, values):
            yield Finding(
                "charge_recomputes",
                f"job {job}",
                f"the charge says {row['price']}, {row['card']}@{row['card_version']} says"
                f" {again.amount} with {lines}",
            )


def _differs(row: RowMapping) -> Price | None:
    """What the charge should say; None when it does."""
    again = _again(row)
    lines = [line_json(line) for line in again.lines]
    return None if again.amount == row["price"] and lines == row["lines"] else again


def _again(row: RowMapping) -> Price:
    card = published_card(row["body"], row["card"], row["card_version"])
    work = Work(row["quantities"], row["attributes"])
    price, _ = rate_or_free(
        card,
        work,
        outcome=row["outcome"],
        cached=row["cached"],
        multipliers=read_multipliers(row["multipliers"]),
    )
    return price
