"""The table of error codes is whole: every code the code can say, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from app.api.openapi import error_codes
from app.api.problems import HTTP_PROBLEMS
from app.outbound import OutboundReason
from app.webhooks.events import EventType
from engines.media import refusals

# What the client library says of an answer that is no problem document.
CLIENT_ONLY = {"unexpected_answer"}

ROOT = Path(__file__).resolve().parents[3]


def sources() -> Iterator[Path]:
    for package in ("app", "billing", "engines", "workers"):
        yield from (ROOT / package).rglob("*.py")


def codes_in(tree: ast.AST) -> Iterator[str]:
    """String constants given as ``code=...`` or assigned to ``code`` in a class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield from constants(node.value)
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "code" for target in node.targets
        ):
            yield from constants(node.value)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "code":
                    yield from constants(value)


def constants(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def raised_codes() -> set[str]:
    found = {code for code, _ in HTTP_PROBLEMS.values()}
    found |= {reason.value for reason in OutboundReason}
    found |= {code for _, code, _ in refusals._REASONS}
    for path in sources():
        text = path.read_text(encoding="utf-8")
        found |= set(codes_in(ast.parse(text)))
        found |= set(re.findall(r"'code', '(\w+)'", text))  # errors that SQL writes
    return found - CLIENT_ONLY


def test_every_code_that_can_be_raised_is_in_the_table() -> None:
    assert raised_codes() - set(error_codes()) == set()


def test_every_row_has_a_status_and_a_way_out() -> None:
    for code, (status, way_out) in error_codes().items():
        assert re.fullmatch(r"job|\d{3}( / job)?", status), code
        assert way_out.endswith("."), code


def test_every_event_type_is_told() -> None:
    text = (ROOT / "app/api/README.md").read_text(encoding="utf-8")
    assert [event.value for event in EventType if f"`{event.value}`" not in text] == []
