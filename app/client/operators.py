"""What operators ask of the API: recharges and decisions; the owner of one admin key."""

import secrets
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app.client.exchange import Call, Exchange, JsonObject


class Operator:
    """The admin resources of one API; a context manager."""

    def __init__(self, exchange: Exchange) -> None:
        """The operator closes ``exchange`` when it is closed."""
        self._exchange = exchange

    def __enter__(self) -> Self:
        """Return the operator itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._exchange.close()

    def recharge(self, order: dict[str, Any]) -> JsonObject:
        """Give the same amount to many: ``users``, ``amount``, ``operator``, ``reason``, ..."""
        key = secrets.token_urlsafe(24)
        path = "/v1/admin/recharges/bulk"
        return self._exchange.send(Call("POST", path, body=order, idempotency_key=key))

    def recharge_file(
        self, path: Path, fields: dict[str, str], *, sent: Callable[[int], None] = lambda _: None
    ) -> JsonObject:
        """Send a CSV of users and amounts; the file itself is the key, so sending twice is safe.

        ``sent`` hears how many bytes have gone.
        """
        call = Call(
            "POST",
            "/v1/admin/recharges/bulk",
            upload=path,
            fields=fields,
            sent=sent,
            repeatable=fields.get("repeat") != "true",
        )
        return self._exchange.send(call)

    def approvals(self, *, status: str | None) -> list[JsonObject]:
        """Approvals, newest first, the first hundred."""
        query: dict[str, str | int] = {"limit": 100}
        if status is not None:
            query["status"] = status
        found = self._exchange.send(Call("GET", "/v1/admin/approvals", query=query))
        rows: list[JsonObject] = found["data"]
        return rows

    def approve(self, decision_id: str) -> JsonObject:
        """Agree as a second person to an approval, or to the recharge of this id."""
        return self._exchange.send(Call("POST", f"{_address(decision_id)}/approve"))

    def reject(self, decision_id: str, *, reason: str) -> JsonObject:
        """Say no to an approval, or to the recharge of this id."""
        body = {"reason": reason}
        return self._exchange.send(Call("POST", f"{_address(decision_id)}/reject", body=body))


def _address(decision_id: str) -> str:
    kind = "recharges" if decision_id.startswith("rch_") else "approvals"
    return f"/v1/admin/{kind}/{decision_id}"
