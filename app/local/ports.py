"""TCP ports on the loopback address."""

import socket

import psutil

from app.local.errors import PortInUseError

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether we can listen on ``port`` at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the server itself does: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def require_free(port: int, *, option: str) -> None:
    """Make sure that we can listen on ``port``.

    Raises:
        PortInUseError: names the port, who has it, and the option that chooses another one.
    """
    if is_free(port):
        return
    holder = _holder(port) or "it cannot be bound"
    message = (
        f"Port {port} is not free: {holder}. Stop that program, or choose another port with "
        f"{option}, for example {option} {free_port()}."
    )
    raise PortInUseError(message)


def _holder(port: int) -> str | None:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and _port_of(connection.laddr) == port and connection.pid is not None:
                name = psutil.Process(connection.pid).name()
                return f"{name} (pid {connection.pid}) listens on it"
    except psutil.Error:
        return None  # only the name is lost; the port is still known to be taken
    return None


def _port_of(address: object) -> int | None:
    # psutil gives a named pair, or an empty tuple for a socket without an address.
    port: int | None = getattr(address, "port", None)
    return port
