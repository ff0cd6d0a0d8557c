"""Usage lines as ClickHouse takes them: one table, JSON lines, a token per batch.

Needs the extra ``clickhouse``. The table drops a batch whose token it has seen, and should it have
forgotten, replaces a line by itself: reading with FINAL is exact at any time.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from billing.amounts import MICRO
from billing.usage_copy import Batch

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

TABLE: Final = "pixelmeter_usage"
CONNECT_S: Final = 5
ANSWER_S: Final = 20
TOKENS_KEPT: Final = 1000  # batches whose repetition the server notices by itself

CREATE: Final = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    job String, tenant LowCardinality(String), settled_at DateTime64(6, 'UTC'),
    project Nullable(String), api_key Nullable(String), end_user Nullable(String),
    engine LowCardinality(String), model LowCardinality(String), device LowCardinality(String),
    outcome LowCardinality(String), cached Bool, tokens Decimal(18, 6), gpu_us UInt64
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(settled_at) ORDER BY (tenant, settled_at, job)
SETTINGS non_replicated_deduplication_window = {TOKENS_KEPT}
"""


@contextmanager
def clickhouse(url: str) -> Iterator["Client"]:
    """A connection with the table in place; ``http://user:pass@host:8123/database``.

    Raises:
        ImportError: the extra is not installed.
        clickhouse_connect.driver.exceptions.Error: the server is away or refuses.
    """
    import clickhouse_connect  # noqa: PLC0415 - part of an extra

    client = clickhouse_connect.get_client(
        dsn=url,
        connect_timeout=CONNECT_S,
        send_receive_timeout=ANSWER_S,
        query_retries=0,
        autogenerate_session_id=False,
    )
    try:
        client.command(CREATE)
        yield client
    finally:
        client.close()


def insert(client: "Client", batch: Batch) -> None:
    """Send a batch as a whole; sending it again changes nothing."""
    lines = "\n".join(json.dumps(_line(line)) for line in batch.lines)
    client.raw_insert(
        TABLE,
        insert_block=lines.encode(),
        settings={"insert_deduplication_token": batch.token},
        fmt="JSONEachRow",
    )


def _line(line: Mapping[str, Any]) -> dict[str, Any]:
    whole, rest = divmod(line["charged"], MICRO)
    facts = {name: value for name, value in line.items() if name != "charged"}
    # As text: a JSON number of ClickHouse's passes through a double.
    return {**facts, "settled_at": line["settled_at"].isoformat(), "tokens": f"{whole}.{rest:06}"}
