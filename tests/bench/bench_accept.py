"""Accepted jobs per second against the floor: a bare Flask route with one INSERT and one commit.

Both run under the same gunicorn settings (2 workers of 8 threads) on the same PostgreSQL server;
rounds alternate between them. The numbers are medians over the rounds. `product` is one tenant,
whose wallet every request locks in turn; with 8 tenants each connection has a wallet of its own.

    python tests/bench/bench_accept.py [--dsn postgresql://...] [--rounds 5] [--json FILE]

Without ``--dsn`` a private PostgreSQL is started with its shipped settings (fsync on).
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import stage  # noqa: E402 - the tree must be importable first
from tests.bench.on_postgres import run  # noqa: E402

CLIENTS = (1, 8)
START_S = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def gunicorn(app: str, *, env: Mapping[str, str], ready_path: str, log: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "python:app.api.gunicorn_conf"]
    command += ["--bind", f"127.0.0.1:{port}", app]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **env}, stdout=output, stderr=output
        )
        try:
            wait_until_up(f"http://127.0.0.1:{port}{ready_path}", process, log)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=40)


def wait_until_up(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def http_request(
    path: str, *, port: int, body: Mapping[str, object], headers: Mapping[str, str]
) -> bytes:
    data = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def drive(
    port: int, requests: Sequence[Path], *, clients: int, seconds: float
) -> dict[str, object]:
    command = [sys.executable, str(ROOT / "tests/bench/load.py"), "127.0.0.1", str(port)]
    command += [*map(str, requests), "--clients", str(clients), "--seconds", str(seconds)]
    outcome: dict[str, object] = json.loads(subprocess.check_output(command))
    if outcome["refusal"]:
        raise SystemExit(f"a request was refused: {outcome['statuses']} {outcome['refusal']}")
    return outcome


def summary(rounds: list[dict[str, object]]) -> dict[str, float]:
    names = ("per_s", "p50_ms", "p95_ms")
    return {name: round(statistics.median(float(r[name]) for r in rounds), 3) for name in names}


def measure(folder: Path, dsn: str, *, rounds: int, seconds: float) -> dict[str, object]:
    staged = stage.prepare(dsn, folder, tenants=max(CLIENTS))
    env = {"DATABASE_URL": dsn, "BENCH_DSN": dsn, **staged.environment}
    seen: dict[tuple[str, int], list[dict[str, object]]] = {}
    with (
        gunicorn(
            "tests.bench.bare_app:build()", env=env, ready_path="/", log=folder / "bare.log"
        ) as bare_port,
        gunicorn(
            "app.api.wsgi:build()", env=env, ready_path="/livez", log=folder / "product.log"
        ) as product_port,
    ):
        jobs = []
        for number, key in enumerate(staged.keys):
            body = staged.job_body(product_port, key)
            jobs.append(folder / f"job-{number}")
            headers = stage.bearer(key)
            jobs[-1].write_bytes(
                http_request("/v1/jobs", port=product_port, body=body, headers=headers)
            )
            (folder / "bare").write_bytes(
                http_request("/bare", port=bare_port, body=body, headers={})
            )
        targets: dict[str, tuple[int, Sequence[Path]]] = {
            "bare": (bare_port, [folder / "bare"]),
            "product": (product_port, jobs[:1]),
            "product, 8 tenants": (product_port, jobs),
        }
        for port, requests in targets.values():
            drive(port, requests, clients=16, seconds=1.0)  # every thread has connected
        for _ in range(rounds):
            for clients in CLIENTS:
                for name, (port, requests) in targets.items():
                    outcome = drive(port, requests, clients=clients, seconds=seconds)
                    seen.setdefault((name, clients), []).append(outcome)
    return report(seen, rounds=rounds)


def report(
    seen: Mapping[tuple[str, int], list[dict[str, object]]], *, rounds: int
) -> dict[str, object]:
    rows = {f"{name}/c{clients}": summary(outcomes) for (name, clients), outcomes in seen.items()}
    ratios = {
        f"{name}/c{clients}": round(
            rows[f"{name}/c{clients}"]["per_s"] / rows[f"bare/c{clients}"]["per_s"], 3
        )
        for name, clients in seen
        if name != "bare"
    }
    return {
        "bench": "accept",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "rounds": rounds,
        "rows": rows,
        "ratio": ratios,
        "aim": 0.5,
    }


def show(outcome: dict[str, object]) -> None:
    rows, ratios = outcome["rows"], outcome["ratio"]
    assert isinstance(rows, dict)
    assert isinstance(ratios, dict)
    print(f"\n| accept, {outcome['cpus']} CPUs | accepted/s | p50 ms | p95 ms |")
    print("|---|---:|---:|---:|")
    for name, row in sorted(rows.items()):
        print(f"| {name} | {row['per_s']:,.0f} | {row['p50_ms']:.2f} | {row['p95_ms']:.2f} |")
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f} of the bare route (aim 0.50)")


if __name__ == "__main__":
    run(__doc__, measure=measure, show=show, rounds=5, seconds=3.0)
