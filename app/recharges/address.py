"""Where a request comes from, and whether an operator may recharge from there. Pure.

``X-Forwarded-For`` is written by whoever sends the request; only its last values, one for each
proxy of ours, are true. With too few of them the request did not come through our proxies.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from app.settings import Network

Address = IPv4Address | IPv6Address


def client_address(peer: str | None, forwarded_for: str | None, *, proxies: int) -> Address | None:
    """The address of the caller behind exactly ``proxies`` proxies of ours; None: nobody knows.

    Args:
        peer: who opened the connection.
        forwarded_for: the X-Forwarded-For header as it arrived; every proxy added its own peer.
        proxies: how many proxies of ours stand in front; 0 believes no header at all.
    """
    if proxies == 0:
        return _parsed(peer or "")
    named = [value.strip() for value in (forwarded_for or "").split(",")]
    if len(named) < proxies:
        return None
    return _parsed(named[-proxies])


def is_allowed(address: Address | None, allowed: Iterable[Network]) -> bool:
    """Whether the address lies in one of the networks; an unknown one never does."""
    return address is not None and any(
        address.version == network.version and address in network for network in allowed
    )


def _parsed(text: str) -> Address | None:
    """An address; IPv4 inside IPv6 is the IPv4 that it is."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
