"""``/v1/invoices`` and ``/v1/statements``: as JSON, as a page, as PDF, as CSV."""

from typing import Any, Literal

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import current_tenant
from app.api.invoice_schemas import InvoiceList, InvoiceObject, StatementObject
from app.api.replies import ListQuery, moment, page, reply
from app.api.services import services
from app.documents.invoice import invoice_paper
from app.documents.paper import Paper
from app.documents.pdf import paper_pdf
from app.documents.statement import statement_csv, statement_document, statement_paper
from app.documents.web_page import paper_html
from app.invoicing.months import customer_of, month_bounds, parse_month
from billing.invoices import Invoice, find_invoice, list_invoices
from billing.statements import statement, statement_entries

blueprint = APIBlueprint("invoices", __name__, url_prefix="/v1", tag="Money")


class InvoiceForm(BaseModel):
    """In which form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["json", "html", "pdf"] = Field("json", description="json, html or pdf")


class StatementForm(BaseModel):
    """In which form."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["json", "html", "pdf", "csv"] = Field(
        "json", description="json, html or pdf; csv has every booking"
    )


@blueprint.get("/invoices")
@blueprint.input(ListQuery, location="query", arg_name="wanted")
@blueprint.output(InvoiceList)
def index(wanted: ListQuery) -> Response:
    """List the invoices, newest month first."""
    with services().unit_of_work() as session:
        found = list_invoices(
            session, tenant=current_tenant(), limit=wanted.limit + 1, after=wanted.after
        )
    return page(found, limit=wanted.limit, view=_summary, cursor=lambda each: each.number)


@blueprint.get("/invoices/<number>")
@blueprint.input(InvoiceForm, location="query", arg_name="wanted")
@blueprint.output(InvoiceObject)
def show(number: str, wanted: InvoiceForm) -> Response:
    """Show an invoice as it was issued: JSON, or with `format` a page or a PDF."""
    with services().unit_of_work() as session:
        found = find_invoice(session, tenant=current_tenant(), number=number)
    if wanted.format == "json":
        return reply({**_summary(found), **found.body, "issued_at": moment(found.issued_at)})
    return _paper(invoice_paper(found.body), wanted.format, name=f"invoice-{found.number}")


@blueprint.get("/statements/<month>")
@blueprint.input(StatementForm, location="query", arg_name="wanted")
@blueprint.output(StatementObject)
def monthly(month: str, wanted: StatementForm) -> Response:
    """Show what moved the balance in a month such as 2026-10, this one included."""
    first = parse_month(month)
    with services().unit_of_work() as session:
        who = customer_of(session, current_tenant())
        start, end = month_bounds(first, who.zone)
        if wanted.format == "csv":
            entries = statement_entries(session, who.tenant, start=start, end=end)
            text = "".join(statement_csv(entries))
            return _file(text.encode(), "text/csv; charset=utf-8", f"statement-{month}.csv")
        found = statement(session, who.tenant, start=start, end=end, zone=who.zone)
    if wanted.format == "json":
        return reply(statement_document(found, month=month, zone=who.zone))
    paper = statement_paper(found, name=who.name, month=month, zone=who.zone)
    return _paper(paper, wanted.format, name=f"statement-{month}")


def _paper(paper: Paper, form: str, *, name: str) -> Response:
    if form == "pdf":
        return _file(paper_pdf(paper), "application/pdf", f"{name}.pdf")
    answer = Response(paper_html(paper), content_type="text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return answer


def _file(content: bytes, content_type: str, name: str) -> Response:
    answer = Response(content, content_type=content_type)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _summary(found: Invoice) -> dict[str, Any]:
    path = f"{services().settings.base_url}/v1/invoices/{found.number}"
    return {
        "number": found.number,
        "object": "invoice",
        "month": f"{found.month:%Y-%m}",
        "total": str(found.total),
        "currency": found.body["currency"],
        "issued_at": moment(found.issued_at),
        "links": {"self": path, "html": f"{path}?format=html", "pdf": f"{path}?format=pdf"},
    }
