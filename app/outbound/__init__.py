"""The only way out of the platform: webhooks and URL inputs leave through this guard.

An address is parsed once, resolved once, every answer is checked, and the connection goes to the
checked IP with the name as Host and SNI. Redirects, proxies and compressed answers do not happen.
"""

from app.outbound.addresses import is_public
from app.outbound.exchange import FETCH_LIMITS, Limits, Response, fetch, post
from app.outbound.target import OutboundPolicy, OutboundReason, OutboundRefusedError, check_url

__all__ = [
    "FETCH_LIMITS",
    "Limits",
    "OutboundPolicy",
    "OutboundReason",
    "OutboundRefusedError",
    "Response",
    "check_url",
    "fetch",
    "is_public",
    "post",
]
