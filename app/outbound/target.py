"""From the text of a URL to the addresses that may be connected to."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, ip_address
from urllib.parse import SplitResult, urlsplit

from app.errors import InvalidRequestError
from app.outbound.addresses import is_public

MAX_URL_LENGTH = 2048
_MAX_NAME_LENGTH = 253  # RFC 1035
_PORTS = frozenset({443, 8443})
_ALLOWED_TEXT = re.compile(r"[!-\[\]-~]+")  # printable ASCII, no space, no backslash
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

Resolver = Callable[[str, int], Sequence[str]]


class OutboundReason(StrEnum):
    """Why nothing was fetched or delivered; also the public problem code."""

    NOT_ALLOWED = "url_not_allowed"  # the address itself is refused; no packet was sent to it
    UNREACHABLE = "url_unreachable"  # no answer: name, connection or TLS failed
    TIMED_OUT = "url_timeout"  # the total deadline passed
    BAD_ANSWER = "url_bad_answer"  # an answer that is not HTTP, not 200 or not plain bytes
    TOO_LARGE = "url_too_large"  # more bytes than the caller may store


class OutboundRefusedError(InvalidRequestError):
    """Raised when a URL may not be reached or did not answer properly.

    A retry helps for ``url_unreachable`` and ``url_timeout`` only.
    """

    code = "url_not_allowed"
    title = "The URL cannot be used"

    def __init__(self, reason: OutboundReason, detail: str) -> None:
        super().__init__(detail, code=reason.value)
        self.reason = reason
        self.retryable = reason in {OutboundReason.UNREACHABLE, OutboundReason.TIMED_OUT}


def resolve(host: str, port: int) -> list[str]:
    """Every address the system resolver gives for a name, in its order; may block for long."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """Who may be reached. ``allow_hosts`` may be private, plain HTTP and on any port.

    Build one per process: reading the certificate store costs some 20 ms.
    """

    allow_hosts: frozenset[str] = frozenset()
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)
    resolver: Resolver = field(default=resolve, repr=False)

    def names(self, host: str) -> bool:
        """Whether the operator named this host (as written in the URL) as reachable."""
        return host.rstrip(".") in self.allow_hosts


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that passed the rules of form, ready to be resolved."""

    scheme: str
    host: str  # lower case, without brackets
    port: int
    path: str  # path and query, as sent
    authority: str  # the Host header
    named: bool  # the operator allows this host by name

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "https"


def _refuse(detail: str) -> OutboundRefusedError:
    return OutboundRefusedError(OutboundReason.NOT_ALLOWED, detail)


def check_url(url: str, policy: OutboundPolicy) -> Target:
    """Check the form of a URL without any network; raises ``OutboundRefusedError``.

    What passes can still be refused later by what its name resolves to.
    """
    parts = _split(url)
    host = (parts.hostname or "").lower()
    _check_host(host)
    named = policy.names(host)
    if not named and _is_literal(host) and not is_public(host):
        raise _refuse(f"{host} is not a public address.")
    if parts.scheme != "https" and not (named and parts.scheme == "http"):
        raise _refuse("Only https URLs are allowed; use https://.")
    port = _port(parts)
    if port not in _PORTS and not named:
        raise _refuse(f"Port {port} is not allowed; use 443 or 8443.")
    path = parts.path or "/"
    return Target(
        scheme=parts.scheme,
        host=host,
        port=port,
        path=f"{path}?{parts.query}" if parts.query else path,
        authority=parts.netloc,
        named=named,
    )


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_LENGTH:
        raise _refuse(f"The URL is longer than {MAX_URL_LENGTH} characters.")
    # urlsplit drops tabs and newlines and takes "good.com\@127.0.0.1" as a user: look first.
    if not _ALLOWED_TEXT.fullmatch(url):
        raise _refuse(
            "The URL has control characters, spaces, backslashes or letters outside ASCII; "
            "percent-encode the path and write international names in punycode."
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refuse("The URL cannot be parsed.") from None
    if "@" in parts.netloc:
        raise _refuse("A user name or password in the URL is not allowed.")
    return parts


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        raise _refuse("The port of the URL is not a number between 1 and 65535.") from None
    if port is None:
        return 443 if parts.scheme == "https" else 80
    return port


def _is_literal(host: str) -> bool:
    return ":" in host or bool(_NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]))


def _check_host(host: str) -> None:
    """Refuse what is neither a host name nor a literal address in its one canonical form."""
    if _is_literal(host):
        try:
            literal = ip_address(host)
        except ValueError:
            raise _refuse("The host of the URL is not a well-formed IP address.") from None
        if isinstance(literal, IPv4Address) or literal.scope_id is None:
            return
        raise _refuse("The host of the URL has a zone id.")
    if len(host) > _MAX_NAME_LENGTH or not _HOST_NAME.fullmatch(host) or ".." in host:
        raise _refuse("The URL has no valid host name.")


def checked_addresses(target: Target, policy: OutboundPolicy, *, timeout_s: float) -> list[str]:
    """Resolve once and return the addresses, all of which passed; refuse if any one did not."""
    addresses = _resolve_within(target, policy.resolver, timeout_s)
    if not addresses:
        raise OutboundRefusedError(
            OutboundReason.UNREACHABLE, f"The name {target.host} has no address."
        )
    if not target.named and not all(is_public(address) for address in addresses):
        # Neither the address nor the network behind it is told to the caller.
        raise _refuse(f"{target.host} does not lead to a public address.")
    return addresses


def _resolve_within(target: Target, resolver: Resolver, timeout_s: float) -> list[str]:
    """Run the blocking resolver in a thread: it has no timeout of its own worth the name."""
    answers: list[str] = []
    failures: list[OSError | UnicodeError] = []

    def ask() -> None:
        try:
            answers.extend(resolver(target.host, target.port))
        except (OSError, UnicodeError) as error:
            failures.append(error)

    thread = threading.Thread(target=ask, name="outbound-resolve", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise OutboundRefusedError(
            OutboundReason.TIMED_OUT, f"The name {target.host} was not resolved in time."
        )
    if failures:
        raise OutboundRefusedError(
            OutboundReason.UNREACHABLE, f"The name {target.host} cannot be resolved."
        )
    return list(answers)
