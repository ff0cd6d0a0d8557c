"""Where a request really comes from, whatever it says."""

from ipaddress import ip_address, ip_network

import pytest

from app.recharges.address import client_address, is_allowed

OFFICE = [ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")]
CALLER = "198.51.100.7"  # not of the office
SPOOFED = ("203.0.113.1", "203.0.113.2")  # what the caller wishes to be
PROXIES = ("10.0.0.2", "10.0.0.1")  # ours, the outer one first


def as_it_arrives(proxies: int, spoofed: int) -> tuple[str, str | None]:
    """Peer and X-Forwarded-For behind real proxies, each of which adds whom it sees."""
    seen = [CALLER, *PROXIES][:proxies]
    header = ", ".join([*SPOOFED[:spoofed], *seen])
    return [CALLER, *PROXIES][proxies], header or None


@pytest.mark.parametrize("proxies", [0, 1, 2])
@pytest.mark.parametrize("spoofed", [0, 1, 2])
def test_spoofed_values_are_never_believed(proxies: int, spoofed: int) -> None:
    peer, header = as_it_arrives(proxies, spoofed)
    found = client_address(peer, header, proxies=proxies)
    assert str(found) == CALLER
    assert not is_allowed(found, OFFICE)


@pytest.mark.parametrize(("proxies", "values"), [(1, 0), (2, 0), (2, 1)])
def test_who_came_around_a_proxy_is_nobody(proxies: int, values: int) -> None:
    header = ", ".join(SPOOFED[:values]) or None
    assert client_address("203.0.113.9", header, proxies=proxies) is None
    assert not is_allowed(None, OFFICE)


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ("203.0.113.9", True),
        ("::ffff:203.0.113.9", True),
        ("2001:db8::1", True),
        ("203.0.114.9", False),
        ("::ffff:198.51.100.7", False),
        ("", False),
        (None, False),
        ("unix:", False),
        ("203.0.113.9:4711", False),
        ("0x7f000001", False),
    ],
)
def test_only_plain_addresses_of_the_networks_are_allowed(peer: str | None, allowed: bool) -> None:
    assert is_allowed(client_address(peer, None, proxies=0), OFFICE) is allowed


def test_the_last_value_counts_behind_one_proxy() -> None:
    found = client_address("10.0.0.1", "203.0.113.1, 198.51.100.7", proxies=1)
    assert found == ip_address("198.51.100.7")
