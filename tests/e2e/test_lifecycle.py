"""`up`, `down` and `status`, in one home; the tests run in their order."""

import os
import re
import signal
import stat
import subprocess

import httpx
import pytest

from app.local.ports import free_port
from tests.e2e.waiting import wait_until

PROCESSES = {
    *(
        "postgres",
        "redis",
        "api",
        "dispatcher",
        "gpu1",
        "billing",
        "webhooks",
        "beat",
        "flower",
        "comfyui",
    ),
}


@pytest.fixture(scope="module")
def home(make_home):
    home = make_home()
    done = home.run("up", "--detach", "--port", str(free_port()), "--comfyui-port", "0")
    assert home.dev["base_url"] in done.stdout
    return home


def test_everything_answers_once_up_returns(home):
    ready = httpx.get(f"{home.dev['base_url']}/readyz")
    assert (ready.status_code, ready.json()["degraded"]) == (200, False)
    assert set(home.dev) >= {
        *("base_url", "admin_key", "tenant_key", "tenant"),
        *("comfyui_url", "flower_url", "metrics_url"),
    }
    with home.client() as client:
        assert client.balance()["available"] == 10_000


def test_keys_and_addresses_are_for_the_owner_only(home):
    for name in ("dev.json", "state.json", "secret.key", "pixelmeter.pid"):
        assert stat.S_IMODE((home.folder / name).stat().st_mode) == 0o600, name


def test_flower_wants_its_password(home):
    dev = home.dev
    wait_until(lambda: _answers(dev["flower_url"]), timeout_s=30, what="Flower")
    assert httpx.get(dev["flower_url"]).status_code == 401
    login = (dev["flower_user"], dev["flower_password"])
    assert httpx.get(f"{dev['flower_url']}/workers", auth=login).status_code == 200
    assert dev["flower_password"] not in " ".join(
        argument for process in home.processes() for argument in process.cmdline()
    )


def _answers(url):
    try:
        return httpx.get(url).status_code < 500
    except httpx.TransportError:
        return False


def test_status_shows_each_process_the_queues_and_the_oldest_job(home):
    shown = home.run("status").stdout
    for name in PROCESSES:
        assert re.search(rf"^ *{name} +running +\d+ ", shown, re.MULTILINE), (name, shown)
    assert "queue engine.detect" in shown
    assert "No job waits." in shown


def test_a_second_up_says_who_runs_and_where(home):
    done = home.run("up", "--detach", "--port", "0", "--comfyui-port", "0", check=False)
    assert done.returncode == 1
    assert "already running" in done.stderr
    assert f"pid {home.state['pid']}" in done.stderr
    assert home.dev["base_url"] in done.stderr


def test_a_busy_port_is_named_and_nothing_stays_behind(home, make_home):
    other = make_home()
    port = home.dev["base_url"].rsplit(":", 1)[1]
    done = other.run("up", "--detach", "--port", port, "--comfyui-port", "0", check=False)
    assert done.returncode == 1
    assert f"Port {port} is not free" in done.stderr
    assert "--port" in done.stderr
    assert other.processes() == []
    assert not (other.folder / "pixelmeter.pid").exists()


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/x"),
        ("REDIS_URL", "redis://127.0.0.1:9/0"),
        ("STORAGE_URL", "s3://bucket"),
    ],
)
def test_a_given_server_that_cannot_be_used_is_named(make_home, name, address):
    other = make_home(**{name: address})
    done = other.run("up", "--detach", "--port", "0", "--comfyui-port", "0", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"pixelmeter: {name} {address}")
    assert other.processes() == []


def test_the_demo_wants_to_be_reachable_by_the_platform_that_runs(home, tmp_path):
    done = home.run("demo", "--out", str(tmp_path / "out"), check=False)
    assert done.returncode == 1
    assert "PIXELMETER_OUTBOUND_ALLOW=127.0.0.1" in done.stderr


def test_a_process_that_dies_is_started_again(home):
    before = home.process("webhooks")
    os.killpg(before["pid"], signal.SIGKILL)
    wait_until(lambda: home.process("webhooks")["restarts"] == 1, timeout_s=10, what="restart")
    assert home.process("webhooks")["pid"] != before["pid"]


def test_a_killed_supervisor_takes_everything_along_and_the_next_one_keeps_the_data(home, clip):
    tenant, key = home.dev["tenant"], home.dev["tenant_key"]
    killed = home.state["pid"]
    with home.client() as client:
        job_id = _start(client, clip)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: home.processes() == [], timeout_s=15, what="the end of every process")
    assert "Nothing runs" in home.run("status", check=False).stderr

    foreground = subprocess.Popen(
        home.command("up", "--port", "0", "--comfyui-port", "0"),
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(
            lambda: _is_ready(home, foreground.pid),
            timeout_s=60,
            what="the second start",
        )
        assert (home.dev["tenant"], home.dev["tenant_key"]) == (tenant, key)
        with home.client() as client:
            assert client.wait(job_id, timeout_s=120)["status"] == "succeeded"
    finally:
        foreground.send_signal(signal.SIGINT)
        output, _ = foreground.communicate(timeout=60)
    assert foreground.returncode == 0, output
    assert f"pid {killed}" in output
    assert "Pixelmeter is ready." in output


def _start(client, clip):
    """Submit a video and wait until a worker is busy with it."""
    inputs = {"target": {"file": client.upload(clip)["id"]}}
    params = {"img_size": 320}
    job = {"engine": "detect", "model": "builtin", "input": inputs, "params": params}
    job_id = client.submit(job)["id"]
    wait_until(
        lambda: client.job(job_id)["progress"]["done"] > 0, timeout_s=60, what="the first frame"
    )
    return job_id


def _is_ready(home, pid):
    if not (home.folder / "state.json").exists():
        return False
    return (home.state["pid"], home.state["phase"]) == (pid, "ready")


def test_nothing_is_left_behind(home):
    assert home.processes() == []
    assert home.sockets() == []
    assert not (home.folder / "pixelmeter.pid").exists()
    assert not (home.folder / "state.json").exists()
    assert "Nothing runs" in home.run("down").stdout
