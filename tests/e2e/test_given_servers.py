"""DATABASE_URL, REDIS_URL and STORAGE_URL point the same processes at servers that already run."""

import os

import pytest
import redis

from app.local.embedded_redis import find_redis
from app.local.layout import Layout
from app.local.processes import redis_process
from app.local.supervisor import StopSignals, Supervisor


@pytest.fixture
def redis_url(tmp_path):
    """A Redis of somebody else's."""
    layout = Layout(tmp_path / "theirs")
    layout.create()
    server = find_redis(layout.redis)
    server.prepare()
    supervisor = Supervisor(layout=layout, asked=StopSignals(), changed=lambda: None)
    supervisor.start([redis_process(server, layout, environment={"PATH": os.defpath})])
    supervisor.wait_until(server.is_ready, what="Redis", timeout_s=10)
    yield server.url
    supervisor.stop(["redis"], grace_s=10)


def test_given_servers_are_used_and_left_running(
    make_home, database_url, redis_url, tmp_path, photos
):
    storage = tmp_path / "storage"
    home = make_home(
        DATABASE_URL=database_url, REDIS_URL=redis_url, STORAGE_URL=f"file://{storage}"
    )
    home.run("up", "--detach", "--port", "0", "--comfyui-port", "0", "--gpu-workers", "2")
    names = {each["name"] for each in home.state["processes"]}
    assert {"gpu1", "gpu2"} <= names
    assert not names & {"postgres", "redis"}
    assert not (home.folder / "postgres").exists()
    home.run("submit", "face-swap", str(photos.astronaut), "--source", str(photos.hopper), "--wait")
    assert any(path.is_file() for path in storage.rglob("*"))
    home.run("down")
    assert home.processes() == []
    client = redis.Redis.from_url(redis_url)
    assert client.ping()
    client.close()
    again = home.run("admin", "reconcile")
    assert "The ledger reconciles." in again.stdout
