"""Who receives events: the endpoints of a tenant, and the origin that a URL counts as."""

import base64
from collections.abc import Sequence
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFoundError
from app.ids import new_id
from app.outbound import OutboundPolicy, check_url
from app.secret_box import SecretBox
from app.webhooks.models import WebhookDelivery, WebhookEndpoint
from app.webhooks.signing import new_secret


def origin(url: str) -> str:
    """Scheme, host and port: what all webhooks of a tenant's jobs to one server have in common."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def create_endpoint(
    session: Session,
    *,
    box: SecretBox,
    policy: OutboundPolicy,
    tenant_id: str,
    url: str,
    events: Sequence[str],
) -> tuple[WebhookEndpoint, str]:
    """Add an address; returns it with its secret, which is shown this once.

    Raises:
        OutboundRefusedError: the address may never be called.
    """
    check_url(url, policy)
    secret = new_secret()
    endpoint = WebhookEndpoint(
        id=new_id("whe"),
        tenant_id=tenant_id,
        url=url,
        events=list(events),
        secret=box.encrypt(secret),
        enabled=True,
    )
    session.add(endpoint)
    session.flush()
    return endpoint, secret


def endpoints(session: Session, *, tenant_id: str) -> list[WebhookEndpoint]:
    """The tenant's addresses, oldest first."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.tenant_id == tenant_id)
    return list(session.scalars(query.order_by(WebhookEndpoint.id)))


def get_endpoint(session: Session, *, tenant_id: str, endpoint_id: str) -> WebhookEndpoint:
    """One address of a tenant.

    Raises:
        NotFoundError: unknown, or another tenant's.
    """
    endpoint = session.get(WebhookEndpoint, endpoint_id)
    if endpoint is None or endpoint.tenant_id != tenant_id:
        raise NotFoundError("There is no such webhook endpoint.", code="endpoint_not_found")
    return endpoint


def rotate_secret(
    session: Session, *, box: SecretBox, tenant_id: str, endpoint_id: str
) -> tuple[WebhookEndpoint, str]:
    """Give an address a new secret; returns it, shown this once.

    What was booked before is still signed with the secret of its booking. A disabled address is
    enabled again: its owner has just shown that it is looked after.
    """
    endpoint = get_endpoint(session, tenant_id=tenant_id, endpoint_id=endpoint_id)
    secret = new_secret()
    endpoint.secret = box.encrypt(secret)
    endpoint.enabled = True
    session.flush()
    return endpoint, secret


def delete_endpoint(session: Session, *, tenant_id: str, endpoint_id: str) -> None:
    """Remove an address; what was booked for it is still delivered.

    Raises:
        NotFoundError: unknown, or another tenant's.
    """
    session.delete(get_endpoint(session, tenant_id=tenant_id, endpoint_id=endpoint_id))


def deliveries(
    session: Session, *, tenant_id: str, limit: int, after: str | None = None
) -> list[WebhookDelivery]:
    """The delivery log, newest first; ``after`` is the last id of the page before."""
    query = select(WebhookDelivery).where(WebhookDelivery.tenant_id == tenant_id)
    if after is not None:
        query = query.where(WebhookDelivery.id < after)
    return list(session.scalars(query.order_by(WebhookDelivery.id.desc()).limit(limit)))


def sealed_webhook_secret(box: SecretBox, secret: str | None) -> str | None:
    """A job's own signing secret in the form that ``job.webhook["secret"]`` keeps."""
    return None if secret is None else base64.b64encode(box.encrypt(secret)).decode("ascii")
