"""A server of a few lines for the tests of the way out: well-behaved, hostile, or a canary."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(answer: Answer, *, times: int = 1, port: int = 0) -> Iterator[int]:
    """A server on a free port that hands each connection to ``answer`` and closes it."""
    listener = socket.create_server(("127.0.0.1", port))
    listener.settimeout(10)

    def serve() -> None:
        for _ in range(times):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
        listener.close()
        thread.join(10)


def answering(text: bytes) -> Answer:
    """Read a request and send these bytes."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return answer


def picture(content: bytes, media_type: str = "image/png") -> Answer:
    """Serve a file as a good server does."""
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return answering(head.encode() + content)


@contextlib.contextmanager
def canary() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, on IPv4 and where there is one on IPv6, that must hear nothing.

    Gives the port and the list of who connected.
    """
    visitors: list[str] = []
    first = socket.create_server(("127.0.0.1", 0))
    port = first.getsockname()[1]
    listeners = [first]
    with contextlib.suppress(OSError):
        listeners.append(socket.create_server(("::1", port), family=socket.AF_INET6))

    def listen(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, address = listener.accept()
                visitors.append(str(address))
                connection.close()

    threads = [threading.Thread(target=listen, args=(each,), daemon=True) for each in listeners]
    for thread in threads:
        thread.start()
    try:
        yield port, visitors
    finally:
        for listener in listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in threads:
            thread.join(10)
