"""Who is calling: ``Authorization: Bearer <api key>``, checked before every handler.

A key is looked up at most once per second and process; a revoked key is therefore refused
within one second. A key with a wrong checksum is refused without a question to the database.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TypeVar

from flask import Flask, current_app, g, request

from app.errors import AuthenticationError, ForbiddenError
from app.tenants.service import Principal

PRINCIPAL_TTL_S = 1.0
PRINCIPALS_MAX = 10_000

PUBLIC_MARK = "_pixelmeter_public"
ANONYMOUS_MARK = "_pixelmeter_anonymous"
PUBLIC_ENDPOINTS = frozenset({"openapi.spec"})  # made by APIFlask, so it carries no mark

View = TypeVar("View", bound=Callable[..., object])


@dataclass(slots=True)
class PrincipalCache:
    """Principals by the SHA-256 of their key, each for at most ``PRINCIPAL_TTL_S``.

    Owned by the app object. Threads may race: the worst case is one look-up too many.
    """

    look_up: Callable[[str], Principal]  # asks the database, but not for a malformed key
    clock: Callable[[], float] = time.monotonic
    _known: dict[bytes, tuple[float, Principal]] = field(default_factory=dict)

    def principal(self, key: str) -> Principal:
        """Return whose key this is; raises ``AuthenticationError``."""
        digest = hashlib.sha256(key.encode()).digest()
        now = self.clock()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        principal = self.look_up(key)
        if len(self._known) >= PRINCIPALS_MAX:
            self._known.clear()
        self._known[digest] = (now + PRINCIPAL_TTL_S, principal)
        return principal


def public(view: View) -> View:
    """Mark a view that answers without a key."""
    setattr(view, PUBLIC_MARK, True)
    return view


def anonymous_allowed(view: View) -> View:
    """Mark a view that a development server answers without a key, as the demo tenant."""
    setattr(view, ANONYMOUS_MARK, True)
    return view


def is_public(view: Callable[..., object]) -> bool:
    """Whether ``public`` marked the view."""
    return getattr(view, PUBLIC_MARK, False) is True


def bearer_key() -> str:
    """The key in the Authorization header; raises ``AuthenticationError``."""
    header = request.headers.get("Authorization", "")
    if not header:
        detail = "Send your API key in the header: Authorization: Bearer pm_live_..."
        raise AuthenticationError(detail)
    scheme, _, key = header.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        detail = "The Authorization header must read: Bearer pm_live_..."
        raise AuthenticationError(detail, code="authorization_malformed")
    return key


def register_auth(
    app: Flask, principals: PrincipalCache, *, anonymous: Callable[[], Principal] | None = None
) -> None:
    """Authenticate every request for an address that exists and is not public.

    ``anonymous`` finds out who calls without a key from this machine; None: nobody may.
    """

    @app.before_request
    def authenticate() -> None:
        endpoint = request.endpoint
        if endpoint is None or endpoint in PUBLIC_ENDPOINTS:
            return
        view = current_app.view_functions[endpoint]
        if is_public(view):
            return
        if anonymous is not None and _comes_without_key(view):
            g.principal = anonymous()
            return
        g.principal = principals.principal(bearer_key())


def _comes_without_key(view: Callable[..., object]) -> bool:
    """Whether a request from this machine names no key where it may."""
    if not getattr(view, ANONYMOUS_MARK, False) or "Authorization" in request.headers:
        return False
    try:
        return ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        return False


def current_principal() -> Principal:
    """The authenticated caller of the request at hand."""
    principal = g.get("principal")
    if not isinstance(principal, Principal):
        detail = "Send your API key in the header: Authorization: Bearer pm_live_..."
        raise AuthenticationError(detail)
    return principal


def tenant_of(principal: Principal) -> str:
    """The tenant a key belongs to; raises ``ForbiddenError`` for keys that belong to none."""
    if principal.tenant_id is None:
        detail = "This address needs a tenant's key; an admin key belongs to no tenant."
        raise ForbiddenError(detail, code="tenant_key_required")
    return principal.tenant_id


def current_tenant() -> str:
    """The caller's tenant; raises like ``tenant_of``."""
    return tenant_of(current_principal())


def current_operator() -> str:
    """The person behind the caller's admin key; raises ``ForbiddenError`` for other keys."""
    operator = current_principal().operator
    if operator is None:
        raise _admin_key_required()
    return operator


def admins_only() -> None:
    """Refuse everyone but admins; a ``before_request`` of the admin addresses."""
    if current_principal().role != "admin":
        raise _admin_key_required()


def _admin_key_required() -> ForbiddenError:
    detail = "This address needs an admin key. Ask an operator of the platform."
    return ForbiddenError(detail, code="admin_key_required")
