"""The connection under an exchange: to a checked address, with a deadline on every operation."""

import contextlib
import http.client
import io
import socket
import ssl
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from app.outbound.target import OutboundPolicy, Target, checked_addresses

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class NetworkError(Exception):
    """Raised when a socket fails; kept apart from failures of our own disk."""


class PinnedConnection(http.client.HTTPConnection):
    """Connects to an address that was checked, never to a name."""

    def __init__(
        self, target: Target, policy: OutboundPolicy, *, connect_s: float, deadline: float
    ) -> None:
        super().__init__(target.host, target.port)
        self._target = target
        self._policy = policy
        self._connect_s = connect_s
        self._deadline = deadline
        self._open: socket.socket | None = None

    def hang_up(self) -> None:
        """Close the socket, whatever was read of it."""
        self.close()
        if self._open is not None:
            self._open.close()

    def connect(self) -> None:
        """Open the socket; called by ``request``."""
        connect_by = min(self._deadline, time.monotonic() + self._connect_s)
        addresses = checked_addresses(self._target, self._policy, timeout_s=_left(connect_by))
        plain = _dial(addresses, self._target.port, connect_by)
        # Head and body are two writes: the second must not wait for the first's receipt.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open = self._secure(plain, connect_by)
        stream: Any = _DeadlineSocket(self._open, self._deadline)
        self.sock = stream

    def _secure(self, plain: socket.socket, connect_by: float) -> socket.socket:
        if not self._target.is_tls:
            return plain
        try:
            plain.settimeout(_left(connect_by))
            # The handshake is one operation for the socket's timeout: a drip cannot stretch it.
            return self._policy.tls.wrap_socket(plain, server_hostname=self._target.host)
        except (TimeoutError, ssl.SSLError):
            plain.close()
            raise
        except (OSError, ValueError) as error:
            plain.close()
            raise NetworkError(_reason(error)) from error


def _dial(addresses: list[str], port: int, connect_by: float) -> socket.socket:
    """Connect to the first of the addresses that answers."""
    failure: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=_left(connect_by))
        except TimeoutError:
            raise
        except OSError as error:
            failure = error
    raise NetworkError(_reason(failure))


def _reason(error: Exception | None) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _DeadlineSocket:
    """What ``http.client`` needs of a socket, with the total deadline on every operation."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket = sock
        self._deadline = deadline

    def sendall(self, data: "ReadableBuffer") -> None:
        """Send everything or fail; the deadline covers the whole, not each piece."""
        view = memoryview(data)
        while view:
            with _network():
                self._socket.settimeout(_left(self._deadline))
                view = view[self._socket.send(view) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The reading side, always binary."""
        return io.BufferedReader(_DeadlineReader(self._socket, self._deadline))

    def close(self) -> None:
        """Do nothing: ``http.client`` closes before the body is read; ``hang_up`` ends it."""


class _DeadlineReader(io.RawIOBase):
    """A raw stream whose reads together may not pass the deadline."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket = sock
        self._deadline = deadline

    def readable(self) -> bool:
        """Always: it only reads."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read what is there, waiting at most until the deadline."""
        with _network():
            self._socket.settimeout(_left(self._deadline))
            return self._socket.recv_into(buffer)


@contextlib.contextmanager
def _network() -> Iterator[None]:
    try:
        yield
    except (TimeoutError, ssl.SSLError):
        raise
    except OSError as error:
        raise NetworkError(_reason(error)) from error
