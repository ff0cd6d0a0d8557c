"""Who hears of an event: the job's own webhook and the endpoints of its tenant."""

import base64
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.tenants.models import Tenant
from app.webhooks.events import EventType, wants
from app.webhooks.models import WebhookEndpoint
from app.webhooks.subscription import origin


@dataclass(frozen=True, slots=True)
class Destination:
    """Where one delivery goes; ``lane`` shares one cap of deliveries under way."""

    url: str
    secret: bytes  # sealed
    lane: str
    endpoint_id: str | None


class Directory:
    """The enabled endpoints of some tenants, read once however many events there are."""

    def __init__(self, session: Session, tenant_ids: Collection[str]) -> None:
        self._session = session
        self._endpoints: dict[str, list[WebhookEndpoint]] = {}
        self._secrets: dict[str, bytes] = {}
        enabled = select(WebhookEndpoint).where(
            WebhookEndpoint.tenant_id.in_(sorted(set(tenant_ids))), WebhookEndpoint.enabled
        )
        for endpoint in session.scalars(enabled):
            self._endpoints.setdefault(endpoint.tenant_id, []).append(endpoint)

    def destinations(
        self, tenant_id: str, event: EventType, job_webhook: Mapping[str, Any] | None
    ) -> Iterator[Destination]:
        """Everybody who wants the event; ``job_webhook`` as stored in ``job.webhook``."""
        if job_webhook is not None and wants(job_webhook.get("events") or (), event):
            own = own_secret(job_webhook) or self._default_secret(tenant_id)
            url = str(job_webhook["url"])
            yield Destination(url, own, f"{tenant_id} {origin(url)}", None)
        for endpoint in self._endpoints.get(tenant_id, ()):
            if wants(endpoint.events, event):
                yield Destination(endpoint.url, endpoint.secret, endpoint.id, endpoint.id)

    def _default_secret(self, tenant_id: str) -> bytes:
        if tenant_id not in self._secrets:
            self._secrets[tenant_id] = _default_secret(self._session, tenant_id)
        return self._secrets[tenant_id]


def own_secret(webhook: Mapping[str, Any] | None) -> bytes | None:
    """The sealed secret that a webhook names, as stored in ``job.webhook``."""
    sealed = None if webhook is None else webhook.get("secret")
    return base64.b64decode(sealed) if sealed else None


def signing_secret(session: Session, tenant_id: str, webhook: Mapping[str, Any] | None) -> bytes:
    """The sealed secret that signs for a webhook: its own, or else its tenant's default."""
    return own_secret(webhook) or _default_secret(session, tenant_id)


def _default_secret(session: Session, tenant_id: str) -> bytes:
    found: bytes = session.execute(
        select(Tenant.webhook_secret).where(Tenant.id == tenant_id)
    ).scalar_one()
    return found
