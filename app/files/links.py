"""Addresses that open one file for a time without a key. Pure.

The signature covers method, path, tenant and expiry, so none of them can be changed; the tenant is
not in the address. How long a link lives depends on where it stands: an answer is read at once, an
event when its receiver is there. A deleted file stays deleted: its row is asked for each time.
"""

import base64
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.errors import ForbiddenError
from app.secret_box import SecretBox
from app.webhooks.schedule import DELIVERED_WITHIN

IN_ANSWERS: Final = timedelta(minutes=15)
# An event is rendered once and may arrive with the last attempt; then there is a day to act on it.
IN_EVENTS: Final = DELIVERED_WITHIN + timedelta(days=1)
LONGEST: Final = max(IN_ANSWERS, IN_EVENTS)
PURPOSE: Final = "signed file links"


def sign(*, key: bytes, method: str, path: str, tenant_id: str, expires: int) -> str:
    """The signature of one address; ``expires`` is a Unix time in seconds."""
    message = "\n".join((method.upper(), path, tenant_id, str(expires))).encode()
    digest = hmac.digest(key, message, "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def verify(
    *,
    key: bytes,
    method: str,
    path: str,
    tenant_id: str,
    expires: int,
    signature: str,
    now: datetime,
) -> None:
    """Check an address; HEAD is allowed wherever GET is.

    Raises:
        ForbiddenError: ``link_expired`` or ``link_invalid``; ask for the object again to get a
            fresh link.
    """
    method = "GET" if method.upper() == "HEAD" else method
    right = sign(key=key, method=method, path=path, tenant_id=tenant_id, expires=expires)
    if not hmac.compare_digest(right.encode(), signature.encode()):
        raise ForbiddenError(
            "The link's signature is wrong. Read the file or job again for a fresh link.",
            code="link_invalid",
        )
    left_s = expires - now.timestamp()
    if not 0 < left_s <= LONGEST.total_seconds() + 1:
        raise ForbiddenError(
            "The link has expired. Read the file or job again for a fresh one.",
            code="link_expired",
        )


@dataclass(frozen=True, slots=True)
class LinkSigner:
    """Makes the links of one place, and checks those of the whole installation."""

    base_url: str
    key: bytes
    lifetime: timedelta

    def content_url(
        self, *, file_id: str, tenant_id: str, now: datetime, kept_until: datetime | None
    ) -> str:
        """An absolute address of a file's content; ends with the file, if that is sooner."""
        return self._url(content_path(file_id), tenant_id, now, kept_until)

    def comparison_url(
        self, *, job_id: str, tenant_id: str, now: datetime, kept_until: datetime | None
    ) -> str:
        """An absolute address of a job's page of before and after; ends with its outputs."""
        return self._url(comparison_path(job_id), tenant_id, now, kept_until)

    def archive_url(self, *, batch_id: str, tenant_id: str, now: datetime) -> str:
        """An absolute address of a batch's outputs as a ZIP of those that are still kept."""
        return self._url(archive_path(batch_id), tenant_id, now, None)

    def verify_archive(
        self, *, batch_id: str, tenant_id: str, expires: int, signature: str, now: datetime
    ) -> None:
        """See ``verify``; the tenant is the one of the batch's row."""
        verify(
            key=self.key,
            method="GET",
            path=archive_path(batch_id),
            tenant_id=tenant_id,
            expires=expires,
            signature=signature,
            now=now,
        )

    def _url(self, path: str, tenant_id: str, now: datetime, kept_until: datetime | None) -> str:
        end = now + self.lifetime
        expires = int((end if kept_until is None else min(end, kept_until)).timestamp())
        signature = sign(
            key=self.key, method="GET", path=path, tenant_id=tenant_id, expires=expires
        )
        return f"{self.base_url}{path}?exp={expires}&sig={signature}"

    def verify_comparison(
        self, *, job_id: str, tenant_id: str, expires: int, signature: str, now: datetime
    ) -> None:
        """See ``verify``; the tenant is the one of the job's row."""
        verify(
            key=self.key,
            method="GET",
            path=comparison_path(job_id),
            tenant_id=tenant_id,
            expires=expires,
            signature=signature,
            now=now,
        )

    def verify(
        self,
        *,
        file_id: str,
        tenant_id: str,
        method: str,
        expires: int,
        signature: str,
        now: datetime,
    ) -> None:
        """See ``verify``; the tenant is the one of the file's row."""
        verify(
            key=self.key,
            method=method,
            path=content_path(file_id),
            tenant_id=tenant_id,
            expires=expires,
            signature=signature,
            now=now,
        )


def content_path(file_id: str) -> str:
    """The path of a file's content."""
    return f"/v1/files/{file_id}/content"


def comparison_path(job_id: str) -> str:
    """The path of a job's page of before and after."""
    return f"/v1/jobs/{job_id}/compare"


def archive_path(batch_id: str) -> str:
    """The path of a batch's outputs."""
    return f"/v1/batches/{batch_id}/outputs.zip"


def link_signer(*, base_url: str, box: SecretBox, lifetime: timedelta) -> LinkSigner:
    """A signer of this installation; every process with the same secret agrees.

    ``lifetime`` is that of the links it makes: ``IN_ANSWERS`` or ``IN_EVENTS``.
    """
    return LinkSigner(base_url=base_url, key=box.derive(PURPOSE), lifetime=lifetime)
