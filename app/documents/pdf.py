"""A paper as PDF, A4, with page numbers. Chinese, Japanese and Korean names are drawn too.

Latin text uses the fonts that every reader has; characters that those lack are set in a CID font,
which readers bring along, so that no font has to be shipped.
"""

import io
import re
from html import escape
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    HRFlowable,
    KeepTogether,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from app.documents.paper import Paper, PaperTable

_BLUE, _GREY, _LINE, _INK = (HexColor(c) for c in ("#14506e", "#5a6675", "#dde3ea", "#1b2430"))
_MARGIN = 20 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_PADDING = 6  # what a frame of reportlab keeps inside its margins
_CJK_FONT = "STSong-Light"
# What the standard fonts cannot draw: everything outside Windows-1252, without the minus sign.
_FOREIGN = re.compile(r"[^\x00-\xff\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u2026\u20ac]+")

_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9, leading=12.5, textColor=_INK)
_RIGHT = ParagraphStyle("right", parent=_BODY, alignment=TA_RIGHT)
_BOLD = ParagraphStyle("bold", parent=_BODY, fontName="Helvetica-Bold")
_BOLD_RIGHT = ParagraphStyle("bold right", parent=_BOLD, alignment=TA_RIGHT)
_LABEL = ParagraphStyle("label", parent=_BODY, fontSize=7.5, leading=10, textColor=_GREY)
_LABEL_RIGHT = ParagraphStyle("label right", parent=_LABEL, alignment=TA_RIGHT)
_TITLE = ParagraphStyle(
    "title", parent=_BODY, fontName="Helvetica-Bold", fontSize=20, leading=24, textColor=_BLUE
)
_SUBTITLE = ParagraphStyle("subtitle", parent=_BODY, fontSize=11, leading=14, textColor=_GREY)
_HEADLINE = ParagraphStyle("headline", parent=_BOLD, fontSize=20, leading=24, alignment=TA_RIGHT)
_HEADING = ParagraphStyle(
    "heading", parent=_BODY, fontName="Helvetica-Bold", fontSize=11, leading=15, spaceAfter=2 * mm
)
_NOTE = ParagraphStyle("note", parent=_BODY, fontSize=7.5, leading=10.5, textColor=_GREY)


def paper_pdf(paper: Paper) -> bytes:
    """The whole document; the same paper gives the same bytes."""
    registerFont(UnicodeCIDFont(_CJK_FONT))
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=_MARGIN - _PADDING,
        rightMargin=_MARGIN - _PADDING,
        topMargin=18 * mm,
        bottomMargin=20 * mm,
        title=f"{paper.title} {paper.subtitle}",
        author="Pixelmeter",
        invariant=1,
    )
    story = [*_head(paper), _facts(paper)]
    for table in paper.tables:
        story += [Spacer(1, 7 * mm), *_table(table)]
    notes = [Paragraph(_text(note), _NOTE) for note in paper.notes]
    story += [Spacer(1, 8 * mm), KeepTogether(notes)]
    document.build(story, canvasmaker=_numbered(f"{paper.title} {paper.subtitle}"))
    return out.getvalue()


def _head(paper: Paper) -> list[Any]:
    left = [Paragraph(_text(paper.title), _TITLE), Paragraph(_text(paper.subtitle), _SUBTITLE)]
    right: list[Any] = []
    if paper.headline is not None:
        label, value = paper.headline
        right = [Paragraph(_text(label), _LABEL_RIGHT), Paragraph(_text(value), _HEADLINE)]
    top = Table([[left, right]], colWidths=[_WIDTH * 0.58, _WIDTH * 0.42])
    top.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_no_padding()]))
    return [top, Spacer(1, 3 * mm), HRFlowable(width="100%", thickness=1.6, color=_BLUE)]


def _facts(paper: Paper) -> Table:
    cells = [
        [Paragraph(_text(label), _LABEL), Paragraph(_text(value), _BODY)]
        for label, value in paper.facts
    ]
    rows = [cells[index : index + 2] for index in range(0, len(cells), 2)]
    if rows and len(rows[-1]) == 1:
        rows[-1] = [*rows[-1], ""]  # type: ignore[list-item] # an empty cell is a text
    table = Table(rows, colWidths=[_WIDTH / 2] * 2)
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        *_no_padding(),
        ("TOPPADDING", (0, 0), (-1, -1), 7),
    ]
    table.setStyle(TableStyle(style))
    return table


def _table(table: PaperTable) -> list[Any]:
    heading = Paragraph(_text(table.title), _HEADING)
    if not table.rows and table.total is None:
        return [KeepTogether([heading, Paragraph(_text(table.empty), _SUBTITLE)])]
    right = [column.align == "right" for column in table.columns]
    rows: list[list[Any]] = [
        [
            Paragraph(_text(column.title), _LABEL_RIGHT if is_right else _LABEL)
            for column, is_right in zip(table.columns, right, strict=True)
        ]
    ]
    rows += [_cells(row, right, plain=True) for row in table.rows]
    style: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, 0), 1.0, _BLUE),
        ("LINEBELOW", (0, 1), (-1, -1), 0.4, _LINE),
        ("LEFTPADDING", (0, 0), (-1, -1), 3),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ("TOPPADDING", (0, 0), (-1, -1), 3.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
    ]
    if not table.rows:
        rows.append([Paragraph(_text(table.empty), _NOTE), *[""] * (len(right) - 1)])
        style.append(("SPAN", (0, 1), (-1, 1)))
    if table.total is not None:
        rows.append(_cells(table.total, right, plain=False))
        style.append(("LINEABOVE", (0, -1), (-1, -1), 1.0, _BLUE))
        style.append(("LINEBELOW", (0, -1), (-1, -1), 0, HexColor("#ffffff")))
    weights = sum(column.weight for column in table.columns)
    widths = [_WIDTH * column.weight / weights for column in table.columns]
    drawn = Table(rows, colWidths=widths, repeatRows=1, splitByRow=1)
    drawn.setStyle(TableStyle(style))
    return [heading, drawn]


def _cells(row: tuple[str, ...], right: list[bool], *, plain: bool) -> list[Any]:
    styles = (_BODY, _RIGHT) if plain else (_BOLD, _BOLD_RIGHT)
    return [
        Paragraph(_text(cell), styles[is_right]) for cell, is_right in zip(row, right, strict=True)
    ]


def _text(value: str) -> str:
    """Mark-up of a paragraph: escaped, a dash for the minus sign, foreign runs in the CID font."""
    clean = value.replace("\x00", "").replace("\x01", "").replace("\N{MINUS SIGN}", "\N{EN DASH}")
    marked = _FOREIGN.sub(lambda run: f"\x00{run[0]}\x01", clean)
    return escape(marked).replace("\x00", f'<font name="{_CJK_FONT}">').replace("\x01", "</font>")


def _no_padding() -> list[tuple[Any, ...]]:
    return [
        (side, (0, 0), (-1, -1), 0)
        for side in ("LEFTPADDING", "RIGHTPADDING", "TOPPADDING", "BOTTOMPADDING")
    ]


def _numbered(label: str) -> type[Canvas]:
    """A canvas that writes ``page of pages`` once it knows how many there are."""

    class NumberedCanvas(Canvas):  # type: ignore[misc] # reportlab has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed through
            super().__init__(*args, **kwargs)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - reportlab's name
            """Keep the page for the end."""
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            """Number every page, then write the file."""
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                self.setFont("Helvetica", 7.5)
                self.setFillColor(_GREY)
                self.drawString(_MARGIN, 11 * mm, f"Pixelmeter  \N{MIDDLE DOT}  {label}")
                footer = f"Page {number} of {len(self._pages)}"
                self.drawRightString(A4[0] - _MARGIN, 11 * mm, footer)
                super().showPage()
            super().save()

    return NumberedCanvas
