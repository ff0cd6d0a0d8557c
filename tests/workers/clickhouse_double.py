"""A server that speaks as much of ClickHouse's HTTP protocol as the copy of usage needs.

It answers the driver's questions at the start, remembers tokens as the real one does, keeps lines,
and can be told to refuse, or to take a batch and lose the answer.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def _text(value: str) -> bytes:
    encoded = value.encode()
    return bytes([len(encoded)]) + encoded


def _settings_block() -> bytes:
    """One row of ``system.settings`` in the Native format: name, value, readonly."""
    columns = [("name", "String", _text("max_threads")), ("value", "String", _text("1")),
               ("readonly", "UInt8", b"\x00")]  # fmt: skip
    return bytes([len(columns), 1]) + b"".join(
        _text(name) + _text(kind) + data for name, kind, data in columns
    )


class ClickHouseDouble:
    """Lines that arrived, tokens in the order they came, and what to do with the next insert."""

    def __init__(self) -> None:
        self.lines: list[dict] = []
        self.tokens: list[str] = []
        self.statements: list[str] = []
        self.next: list[str] = []  # "refuse" or "lose", one per insert; then all goes well
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                query = {
                    key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()
                }
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = self._chunks()
                double.answer(self, query, body)

            def _chunks(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://default:@127.0.0.1:{self._server.server_port}/default"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, handler: BaseHTTPRequestHandler, query: dict, body: bytes) -> None:
        written = body.decode("latin-1").lstrip()
        statement = query.get("query", written)
        self.statements.append(statement)
        if "version()" in statement:
            self._send(handler, b"26.8.1.1\tUTC\n", kind="TabSeparated")
        elif "system.settings" in statement:
            self._send(handler, _settings_block(), kind="Native")
        elif statement.startswith("INSERT"):
            lines = body if "query" in query else body.partition(b"\n")[2]
            self._insert(handler, query["insert_deduplication_token"], lines)
        else:
            self._send(handler, b"")

    def _insert(self, handler: BaseHTTPRequestHandler, token: str, data: bytes) -> None:
        order = self.next.pop(0) if self.next else "take"
        if order == "refuse":
            handler.send_response(500)
            handler.send_header("X-ClickHouse-Exception-Code", "241")
            handler.send_header("Content-Length", "6")
            handler.end_headers()
            handler.wfile.write(b"memory")
            return
        if token not in self.tokens:
            self.lines += [json.loads(line) for line in data.decode().splitlines() if line]
        self.tokens.append(token)
        if order == "lose":
            handler.close_connection = True
            handler.connection.close()
            return
        self._send(handler, b"")

    def _send(self, handler: BaseHTTPRequestHandler, body: bytes, kind: str = "") -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("X-ClickHouse-Summary", "{}")
        if kind:
            handler.send_header("X-ClickHouse-Format", kind)
        handler.end_headers()
        handler.wfile.write(body)
