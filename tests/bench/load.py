"""A load generator in a process of its own: N keep-alive connections that each send one request
after the other. Prints one JSON line: answers per second, latencies, statuses.

    python tests/bench/load.py 127.0.0.1 8000 request.bin --clients 8 --seconds 3

Of several request files the first connection sends the first one, the second the second, and so on.
"""

import argparse
import asyncio
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Tally:
    """What was seen after the warm-up."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.sample = ""

    def add(self, status: int, latency_s: float, body: bytes) -> None:
        self.statuses[status] += 1
        self.latencies_s.append(latency_s)
        if status >= 300 and not self.sample:
            self.sample = body.decode("utf-8", "replace")[:500]


async def one_client(
    address: tuple[str, int], request: bytes, *, count_from: float, until: float, tally: Tally
) -> None:
    reader, writer = await asyncio.open_connection(*address)
    while (sent := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        body = await reader.readexactly(int(length[1]) if length else 0)
        now = time.perf_counter()
        if sent >= count_from and now <= until:
            tally.add(int(head[9:12]), now - sent, body)
        if b"connection: close" in head.lower():
            writer.close()
            reader, writer = await asyncio.open_connection(*address)
    writer.close()


async def drive(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float,
    warm_s: float,
) -> dict[str, object]:
    start = time.perf_counter()
    tally = Tally()
    await asyncio.gather(
        *(
            one_client(
                address,
                requests[number % len(requests)],
                count_from=start + warm_s,
                until=start + warm_s + seconds,
                tally=tally,
            )
            for number in range(clients)
        )
    )
    good = sum(count for status, count in tally.statuses.items() if status < 300)
    ordered = sorted(tally.latencies_s) or [0.0]
    return {
        "per_s": good / seconds,
        "p50_ms": statistics.median(ordered) * 1000,
        "p95_ms": ordered[int(0.95 * (len(ordered) - 1))] * 1000,
        "statuses": {str(status): count for status, count in tally.statuses.items()},
        "refusal": tally.sample,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path, nargs="+", help="files with whole HTTP requests")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warm-s", type=float, default=0.5)
    options = parser.parse_args()
    outcome = asyncio.run(
        drive(
            (options.host, options.port),
            [path.read_bytes() for path in options.requests],
            clients=options.clients,
            seconds=options.seconds,
            warm_s=options.warm_s,
        )
    )
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
