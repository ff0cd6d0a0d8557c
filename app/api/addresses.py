"""Where money may be given from: the networks of PIXELMETER_RECHARGE_ALLOW, behind our proxies."""

from flask import request

from app.api.services import services
from app.errors import ForbiddenError
from app.recharges.address import client_address, is_allowed


def allowed_addresses_only() -> None:
    """Refuse callers from elsewhere, whatever they write into X-Forwarded-For."""
    settings = services().settings
    address = client_address(
        request.remote_addr,
        request.headers.get("X-Forwarded-For"),
        proxies=settings.proxy_hops,
    )
    if not is_allowed(address, settings.recharge_allow):
        shown = "an address that could not be told" if address is None else str(address)
        detail = (
            f"Recharges and approvals from {shown} are not allowed. Call from a network of "
            "PIXELMETER_RECHARGE_ALLOW; behind proxies PIXELMETER_PROXY_HOPS must be their number."
        )
        raise ForbiddenError(detail, code="address_not_allowed")
