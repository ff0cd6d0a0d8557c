"""Invoices and statements as people see them; the same facts in every form."""

import csv
import io
from datetime import UTC, date, datetime

import pytest
from reportlab import rl_config

from app.documents.invoice import invoice_paper
from app.documents.paper import Paper, amount_text
from app.documents.pdf import paper_pdf
from app.documents.statement import statement_csv, statement_document, statement_paper
from app.documents.web_page import paper_html
from billing.statements import Entry, Movement, Statement

BODY = {
    "number": "PM-2026-000042",
    "tenant": "ten_1",
    "name": "上海像素 <b>& Söhne</b>",
    "mode": "postpaid",
    "month": "2026-10",
    "zone": "Asia/Shanghai",
    "period": {"start": "2026-09-30T16:00:00+00:00", "end": "2026-10-31T16:00:00+00:00"},
    "issued_at": "2026-11-01T00:15:00+00:00",
    "currency": "CNY",
    "price_list": "standard@1",
    "usage": [
        {"rate_card": "yolo@1", "engine": "detect", "model": "m@1", "jobs": 3, "tokens": 1000.5}
    ],
    "billed_tokens": 1000.5,
    "lines": [
        {"kind": "tier", "description": "Tokens 1 to 1 000", "quantity": "1000", "unit": "token",
         "unit_price": "0.01", "amount": "10.00"},
        {"kind": "tier", "description": "Tokens 1 001 to 10 000", "quantity": "0.5",
         "unit": "token", "unit_price": "0.008", "amount": "0.004"},
    ],
    "total": "10.00",
}  # fmt: skip
OCTOBER = Statement(
    tenant="ten_1",
    start=datetime(2026, 9, 30, 16, tzinfo=UTC),
    end=datetime(2026, 10, 31, 16, tzinfo=UTC),
    opening=5_000_000,
    closing=3_500_000,
    movements=(Movement("usage", 2, -1_500_000),),
    days=(Movement("usage", 2, -1_500_000, date(2026, 10, 3), 3_500_000),),
)


def papers() -> list[Paper]:
    return [
        invoice_paper(BODY),
        invoice_paper({**BODY, "lines": [], "usage": [], "total": "0.00"}),
        statement_paper(OCTOBER, name="Acme", month="2026-10", zone="Asia/Shanghai"),
    ]


def test_an_invoice_says_who_what_and_how_much():
    paper = invoice_paper(BODY)
    facts = dict(paper.facts)
    assert facts["Period"] == "2026-10-01 00:00 to 2026-11-01 00:00"
    assert paper.headline == ("Total, CNY", "10.00")
    charges, usage = paper.tables
    assert [row[-1] for row in charges.rows] == ["10.00", "0.004"]
    assert usage.total == ("All", "", "", "3", "1\N{NO-BREAK SPACE}000.5")


@pytest.mark.parametrize("paper", papers(), ids=["invoice", "empty", "statement"])
def test_every_value_is_on_the_page_and_escaped(paper):
    page = paper_html(paper)
    for _, value in paper.facts:
        assert value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in page
    assert "<script" not in page
    assert "<b>&" not in page
    assert "http" not in page
    assert paper.headline[1] in page


@pytest.mark.parametrize("paper", papers(), ids=["invoice", "empty", "statement"])
def test_a_pdf_is_one_and_the_same_paper_gives_the_same_bytes(paper):
    content = paper_pdf(paper)
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert content == paper_pdf(paper)
    assert (b"STSong-Light" in content) == ("上" in str(paper.facts))


def test_a_long_statement_runs_over_pages_that_are_numbered(monkeypatch):
    monkeypatch.setattr(rl_config, "pageCompression", 0)
    days = tuple(
        Movement("usage", 1, -1, date(2026, 10, 1 + index % 31), 10) for index in range(120)
    )
    long = Statement("t", OCTOBER.start, OCTOBER.end, 0, 0, (), days)
    content = paper_pdf(statement_paper(long, name="Acme", month="2026-10", zone="UTC"))
    assert b"Page 1 of 4" in content
    assert b"Page 4 of 4" in content


def test_a_statement_adds_up_as_a_document():
    document = statement_document(OCTOBER, month="2026-10", zone="Asia/Shanghai")
    moved = sum(each["tokens"] for each in document["movements"])
    assert document["opening_balance"] + moved == document["closing_balance"]
    assert document["days"] == [
        {"day": "2026-10-03", "kind": "usage", "entries": 2, "tokens": -1.5, "balance_after": 3.5}
    ]


def test_csv_has_a_line_for_every_booking_and_no_formula():
    at = datetime(2026, 10, 3, tzinfo=UTC)
    entries = [Entry(at, "usage", "job_1", -1_500_000, 3_500_000), Entry(at, "grant", "=1+1", 1, 2)]
    rows = list(csv.reader(io.StringIO("".join(statement_csv(entries)))))
    assert rows == [
        ["at", "kind", "ref", "tokens", "balance_after"],
        ["2026-10-03T00:00:00Z", "usage", "job_1", "-1.5", "3.5"],
        ["2026-10-03T00:00:00Z", "grant", "'=1+1", "1e-06", "2e-06"],
    ]


@pytest.mark.parametrize(
    ("value", "shown"), [(1234567.5, "1 234 567.5"), ("-10.00", "\N{MINUS SIGN}10.00"), (0, "0")]
)
def test_amounts_have_their_thousands_apart(value, shown):
    assert amount_text(value).replace("\N{NO-BREAK SPACE}", " ") == shown
