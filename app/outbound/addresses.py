"""Which IP addresses are on the public internet. Pure.

``ipaddress.is_global`` alone is not enough: it calls 64:ff9b::7f00:1 (NAT64 of 127.0.0.1),
2002:7f00:1:: (6to4 of it), fec0::1 and 224.0.0.1 global, and its table changes between Python
releases. So this list is our own, taken from the IANA special-purpose registries, and
``is_global`` must agree on top of it.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

_SPECIAL_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier NAT; 100.100.100.200 is a cloud's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # public by registry, but a cloud's host service from inside it
        "169.254.0.0/16",  # link local; 169.254.169.254 is the clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is a cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # automatic multicast tunnelling
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved and broadcast
    )
)

# Only 2000::/3 is assigned to the internet. Everything else (loopback, mapped and compatible
# IPv4, NAT64, unique and site local, link local, multicast, 5f00::/16) is outside of it.
_UNICAST_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID, AS112
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4 carries any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


def is_public(address: str) -> bool:
    """Whether a literal IPv4 or IPv6 address is a unicast address of the public internet.

    Anything that is not a plain literal (a scope id, a name, an odd notation) is not public.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return parsed.is_global and not any(parsed in network for network in _SPECIAL_V4)
    if parsed.scope_id is not None or parsed not in _UNICAST_V6:
        return False
    return parsed.is_global and not any(parsed in network for network in _SPECIAL_V6)
