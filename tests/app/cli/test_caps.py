"""How caps look in a terminal."""

import io

from rich.console import Console

from app.cli.caps import show_caps

CAP = {
    "id": "7",
    "set_by": "operator",
    "scope": "end_user",
    "subject": "*",
    "name": None,
    "window": "day",
    "limit": 20,
    "used": 12.5,
    "reserved": 1,
    "remaining": 6.5,
    "fullest": "anna",
    "starts_anew": "2026-01-02T00:00:00Z",
}


def shown(caps: list) -> str:
    console = Console(file=io.StringIO(), width=140)
    show_caps(console, caps)
    return console.file.getvalue()


def test_a_cap_is_a_row_that_says_whose_it_is_and_what_is_left() -> None:
    text = shown(
        [CAP, {**CAP, "scope": "project", "subject": "prj_1", "name": "web", "fullest": None}]
    )
    for piece in (
        "end_user * (fullest: anna)",
        "project web",
        "12.5",
        "6.5",
        "2026-01-02T00:00:00Z",
    ):
        assert piece in text


def test_no_caps_are_a_sentence() -> None:
    assert shown([]) == "There are no caps.\n"
