"""Addresses that open one file for a short time without a key. Pure.

The signature covers method, path, tenant and expiry, so none of them can be changed; the tenant is
not in the address. A deleted file stays deleted: the link is checked first, then the row.
"""

import base64
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.errors import ForbiddenError
from app.secret_box import SecretBox

LINK_LIFETIME: Final = timedelta(minutes=15)
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
    if not 0 < left_s <= LINK_LIFETIME.total_seconds() + 1:
        raise ForbiddenError(
            "The link has expired. Read the file or job again for a fresh one.",
            code="link_expired",
        )


@dataclass(frozen=True, slots=True)
class LinkSigner:
    """Makes and checks the links of one installation."""

    base_url: str
    key: bytes

    def content_url(self, *, file_id: str, tenant_id: str, now: datetime) -> str:
        """An absolute address of a file's content that works for ``LINK_LIFETIME``."""
        return self._url(content_path(file_id), tenant_id, now)

    def comparison_url(self, *, job_id: str, tenant_id: str, now: datetime) -> str:
        """An absolute address of a job's page of before and after, for ``LINK_LIFETIME``."""
        return self._url(comparison_path(job_id), tenant_id, now)

    def archive_url(self, *, batch_id: str, tenant_id: str, now: datetime) -> str:
        """An absolute address of a batch's outputs as a ZIP, for ``LINK_LIFETIME``."""
        return self._url(archive_path(batch_id), tenant_id, now)

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

    def _url(self, path: str, tenant_id: str, now: datetime) -> str:
        expires = int((now + LINK_LIFETIME).timestamp())
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


def link_signer(*, base_url: str, box: SecretBox) -> LinkSigner:
    """The signer of this installation; every process with the same secret agrees."""
    return LinkSigner(base_url=base_url, key=box.derive(PURPOSE))
