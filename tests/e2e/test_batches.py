"""A night's batch of short videos, some broken, through the running platform: one callback.

``BATCH_VIDEOS=200 pytest tests/e2e/test_batches.py`` (``make batch-test``) is the full size.
"""

import base64
import csv
import hashlib
import json
import os
import subprocess
import time
from decimal import Decimal

import httpx
import imageio_ffmpeg
import pytest

from app.demo.receiver import Receiver
from app.webhooks.signing import new_secret
from tests.e2e.waiting import wait_until

VIDEOS = int(os.environ.get("BATCH_VIDEOS", "20"))
FRAMES = 16  # half of them may be lost, and are too many


@pytest.fixture(scope="module")
def clip_bytes(tmp_path_factory):
    """A small moving picture; what is cheap to look for is looked for in it."""
    path = tmp_path_factory.mktemp("night") / "clip.mp4"
    source = f"testsrc2=size=96x64:rate=10:duration={FRAMES / 10}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source]
    encode = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "0", str(path)]
    subprocess.run([*command, *encode], check=True)
    return path.read_bytes()


def damaged(content: bytes) -> bytes:
    """The same file with its last pictures wiped: whole to look at, broken to decode."""
    start, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    start += (end - start) // 2
    return content[:start] + bytes(end - start) + content[end:]


def inline(content: bytes) -> dict[str, object]:
    data = base64.b64encode(content).decode()
    return {"input": {"target": {"data": f"data:video/mp4;base64,{data}"}}}


def test_a_batch_with_broken_videos_ends_with_one_callback_and_the_right_bill(
    platform, client, http, clip_bytes, tmp_path
):
    # Every tenth is broken: in turn cut off, which is seen at once, and damaged, which is not.
    broken = {index: index // 10 % 2 for index in range(5, VIDEOS, 10)}
    items = [inline(clip_bytes) for _ in range(VIDEOS)]
    for index, kind in broken.items():
        half = clip_bytes[: len(clip_bytes) // 2]
        items[index] = inline(half if kind == 0 else damaged(clip_bytes))
    for index, item in enumerate(items):
        item["metadata"] = {"index": index}
    secret = new_secret()
    before = client.balance()["available"]
    with Receiver(secret) as receiver:
        started = time.monotonic()
        batch = client.submit_batch(
            {
                "defaults": {"engine": "detect", "model": "builtin", "cache": False},
                "items": items,
                "on_invalid": "skip",
                "webhook": {"url": receiver.url, "secret": secret},
            }
        )
        accepted_s = time.monotonic() - started
        wait_until(
            lambda: any(each.verified for each in receiver.received()),
            timeout_s=600,
            what="the callback",
        )
        took_s = time.monotonic() - started
        done = client.batch(batch["id"])
        time.sleep(6)  # a second look at batches passes, and tells nobody again
        (told,) = receiver.received()
    print(f"{VIDEOS} videos: accepted in {accepted_s:.1f} s, told after {took_s:.1f} s")
    cut = [index for index, kind in broken.items() if kind == 0]
    hurt = [index for index, kind in broken.items() if kind == 1]
    assert (told.type, told.data["status"]) == ("batch.completed", "completed")
    assert told.data["counts"] == done["counts"]
    assert done["counts"]["invalid"] == len(cut)
    assert done["counts"]["failed"] == len(hurt)
    assert done["counts"]["succeeded"] == VIDEOS - len(broken)
    problems = {each["index"]: each["code"] for each in told.data["problems"]}
    assert sorted(problems) == sorted(broken)[:20]
    assert {problems[index] for index in hurt if index in problems} <= {"video_damaged"}
    _check_bill(platform, client, done, spent=Decimal(str(before)))
    _check_manifest(http, done, broken=set(broken))
    reconciled = platform.run("admin", "reconcile")
    assert reconciled.returncode == 0, reconciled.stdout


def _check_bill(platform, client, done, *, spent):
    """What the batch says is what its jobs say, what the wallet lost, and what the ledger has."""
    spent -= Decimal(str(client.balance()["available"]))
    items = list(client.batch_items(done["id"]))
    assert spent == Decimal(str(done["tokens"]))
    assert sum(Decimal(str(item["tokens"] or 0)) for item in items) == spent
    assert all(not item["tokens"] for item in items if item["status"] != "succeeded")
    charged = platform.query(
        "SELECT sum(c.charged) FROM billing.charge c JOIN job j ON j.id = c.job"
        " WHERE j.batch_id = %s",
        done["id"],
    )
    assert Decimal(charged[0][0]).scaleb(-6) == spent


def _check_manifest(http, done, *, broken):
    as_json, as_csv = (
        httpx.get(done["manifest"][kind]["url"]).raise_for_status().content
        for kind in ("json", "csv")
    )
    assert hashlib.sha256(as_json).hexdigest() == done["manifest"]["json"]["sha256"]
    manifest = json.loads(as_json)
    assert {each["index"] for each in manifest["items"] if each["error"]} == broken
    assert [each["metadata"].get("index") for each in manifest["items"] if each["job"]] == [
        each["index"] for each in manifest["items"] if each["job"]
    ]
    rows = list(csv.DictReader(as_csv.decode().splitlines()))
    assert [int(row["index"]) for row in rows] == list(range(done["total"]))
    assert sum(Decimal(row["tokens"] or 0) for row in rows) == Decimal(str(done["tokens"]))
    archive = http.get(done["links"]["outputs"]).raise_for_status().content
    assert archive[:2] == b"PK"
