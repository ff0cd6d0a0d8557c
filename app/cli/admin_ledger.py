"""`pixelmeter admin reconcile`, `refund` and `correct`: the ledger in an operator's hands."""

import secrets
from datetime import UTC, datetime

import click

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.on_database import ACTOR, sessions, transaction
from app.corrections import KINDS, propose
from app.reconciliation import reconcile
from billing.amounts import from_number, to_number
from billing.audit import record
from billing.refunds import give_back


@click.command(name="reconcile", short_help="Check every rule of the ledger.")
@pass_context
def reconcile_command(context: Context) -> None:
    """Check every rule of the ledger and recompute every charge; exit code 1 if one is off.

    Findings are kept, and each tenant with a finding is frozen until an operator unfreezes it.
    """
    with sessions(context) as factory:
        outcome = reconcile(factory, asked_by=ACTOR)
    assert outcome is not None  # noqa: S101 - only a nightly one can have been done before
    for found in outcome.findings:
        click.echo(f"{found.code}: {found.subject}: {found.detail}")
    if outcome.findings:
        click.echo(f"reconciliation {outcome.id}; frozen: {', '.join(outcome.frozen) or 'nobody'}")
        raise SystemExit(1)
    click.echo("The ledger reconciles.")


@click.command(
    name="refund",
    short_help="Give back a job's charge.",
    epilog=examples(
        "pixelmeter admin refund job_01... --reason 'the picture came out grey'",
        "pixelmeter admin refund job_01... 2.5 --reason 'half of the faces'",
    ),
)
@click.argument("job")
@click.argument("tokens", required=False)
@click.option("--reason", required=True)
@click.option("--key", help="Repeat a refund with its key and nothing happens twice.")
@pass_context
def refund(context: Context, *, job: str, tokens: str | None, reason: str, key: str | None) -> None:
    """Refund TOKENS of JOB's charge, or all that is left, to the grants it came from."""
    now = datetime.now(UTC)
    with transaction(context) as session:
        made = give_back(
            session,
            job=job,
            amount=None if tokens is None else from_number(tokens),
            idem_key=key or secrets.token_hex(16),
            reason=reason,
            actor=ACTOR,
            now=now,
        )
        if made.created:
            detail = {"tokens": to_number(made.amount), "reason": reason}
            record(
                session, actor=ACTOR, action="charge.refund", subject=job, detail=detail, now=now
            )
    click.echo(
        f"Refunded {to_number(made.amount)} tokens; {to_number(made.refunded)} of"
        f" {to_number(made.charged)} so far."
    )


@click.command(
    name="correct",
    short_help="Propose a correction of the ledger to a second operator.",
    epilog=examples(
        "pixelmeter admin correct ledger.reverse 1203 --operator alice --reason 'typed twice'",
        "pixelmeter admin correct ledger.rebuild ten_01... --operator alice --reason 'finding 7'",
    ),
)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("subject")
@click.option("--operator", required=True, help="Who proposes; somebody else has to approve.")
@click.option("--reason", required=True)
@pass_context
def correct(context: Context, *, kind: str, subject: str, operator: str, reason: str) -> None:
    """Propose KIND for SUBJECT: an entry's number, a tenant's id, or a job's id."""
    if kind == KINDS[0] and not subject.isdigit():
        message = "is the number of an entry"
        raise click.BadParameter(message, param_hint="SUBJECT")
    now = datetime.now(UTC)
    with transaction(context) as session:
        asked = propose(session, kind=kind, subject=subject, reason=reason, maker=operator, now=now)
        detail = {"kind": kind, "subject": subject, "reason": reason}
        record(
            session,
            actor=operator,
            action="correction.propose",
            subject=asked.id,
            detail=detail,
            now=now,
        )
    click.echo(f"{asked.id} waits for a second operator: pixelmeter admin approve {asked.id}")
