"""Programs written for ComfyUI run here with nothing but the address changed.

Each is a process of its own that knows nothing of us: the script that colours a folder of old
photographs, and what ComfyUI's own two examples of its API do, call by call.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap

import httpx
import pytest
from PIL import Image

from app.local.ports import free_port
from tests.e2e.waiting import wait_until

WORKFLOW = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png", "upload": "image"}},
    "2": {
        "class_type": "DDColor_Colorize",
        "inputs": {
            "image": ["1", 0],
            "model_input_size": 512,
            "checkpoint": "ddcolor_modelscope.pth",
        },
        "_meta": {"title": "DDColor Colorize"},
    },
    "3": {
        "class_type": "SaveImage",
        "inputs": {"images": ["2", 0], "filename_prefix": "restored/photo"},
    },
}

# Upload, load a workflow, set its picture, queue it, poll the history, fetch what was made.
POLLING_CLIENT = """
import json, sys, time
import httpx as requests

SERVER, PART, PICTURE, WORKFLOW, RESULT = sys.argv[1:]

with open(PICTURE, "rb") as picture:
    answer = requests.post(f"http://{SERVER}/upload/image", files={PART: picture})
uploaded = answer.json()

with open(WORKFLOW) as file:
    workflow = json.load(file)
for node in workflow.values():
    if node["class_type"] == "LoadImage":
        node["inputs"]["image"] = uploaded["name"]

answer = requests.post(
    f"http://{SERVER}/prompt", json={"prompt": workflow, "client_id": "old photographs"}
)
if answer.status_code != 200:
    print(answer.json()["error"]["message"])
    sys.exit(2)
prompt_id = answer.json()["prompt_id"]

while True:
    history = requests.get(f"http://{SERVER}/history/{prompt_id}").json()
    if prompt_id in history:
        break
    time.sleep(0.2)

for output in history[prompt_id]["outputs"].values():
    for image in output["images"]:
        made = requests.get(f"http://{SERVER}/view", params=image)
        with open(RESULT, "wb") as file:
            file.write(made.content)
print(prompt_id)
"""

# As the basic example: one request with a body and no Content-Type of JSON, nothing else.
QUEUEING_CLIENT = """
import json, sys
from urllib import request

server, workflow = sys.argv[1], json.load(open(sys.argv[2]))
body = json.dumps({"prompt": workflow}).encode("utf-8")
request.urlopen(request.Request(f"http://{server}/prompt", data=body))
"""

# As the WebSocket example: own ids, listen until nothing executes, then history and pictures.
LISTENING_CLIENT = """
import asyncio, json, sys, urllib.parse, urllib.request, uuid
import aiohttp

server, workflow, result = sys.argv[1], json.load(open(sys.argv[2])), sys.argv[3]
client_id, prompt_id = str(uuid.uuid4()), str(uuid.uuid4())

def fetch(path, body=None):
    with urllib.request.urlopen(f"http://{server}{path}", data=body) as answer:
        return answer.read()

async def main():
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"ws://{server}/ws?clientId={client_id}") as socket:
            prompt = {"prompt": workflow, "client_id": client_id, "prompt_id": prompt_id}
            await asyncio.to_thread(fetch, "/prompt", json.dumps(prompt).encode())
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                heard = json.loads(message.data)
                print(heard["type"])
                data = heard["data"]
                if heard["type"] == "executing" and data["node"] is None:
                    if data["prompt_id"] == prompt_id:
                        break
    history = json.loads(await asyncio.to_thread(fetch, f"/history/{prompt_id}"))[prompt_id]
    for output in history["outputs"].values():
        for image in output["images"]:
            place = {key: image[key] for key in ("filename", "subfolder", "type")}
            with open(result, "wb") as file:
                file.write(fetch("/view?" + urllib.parse.urlencode(place)))

asyncio.run(main())
"""


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def server(platform):
    return platform.dev["comfyui_url"].removeprefix("http://")


@pytest.fixture
def workflow(tmp_path):
    path = tmp_path / "workflow_api.json"
    path.write_text(json.dumps(WORKFLOW))
    return path


@pytest.fixture
def loaded_workflow(server, picture_of, tmp_path):
    """The workflow with a picture in it that was uploaded before."""
    with picture_of(640, 480).open("rb") as picture:
        name = httpx.post(f"http://{server}/upload/image", files={"image": picture}).json()["name"]
    path = tmp_path / "loaded.json"
    loaded = {**WORKFLOW, "1": {"class_type": "LoadImage", "inputs": {"image": name}}}
    path.write_text(json.dumps(loaded))
    return path


def is_coloured(path):
    with Image.open(path) as made:
        red, green, blue = (channel.getextrema() for channel in made.convert("RGB").split())
    return not red == green == blue


@pytest.mark.parametrize("part", ["image", "file"])
def test_the_polling_client_runs_and_pays(part, client, server, picture_of, workflow):
    before, result = client.balance()["available"], workflow.with_name("result.png")
    done = run(POLLING_CLIENT, server, part, picture_of(800, 600), workflow, result)
    assert done.returncode == 0, done.stderr + done.stdout
    with Image.open(result) as made:
        assert made.size == (800, 600)
    assert is_coloured(result)
    prompt_id = done.stdout.strip()
    [job] = client.jobs(limit=1)
    assert job["metadata"] == {"comfyui_prompt": prompt_id}
    assert job["status"] == "succeeded"
    assert before - client.balance()["available"] == pytest.approx(job["usage"]["tokens"])
    assert job["usage"]["tokens"] > 0 or job["usage"]["cached"]


def test_the_queueing_client_runs(client, server, loaded_workflow):
    before = {job["id"] for job in client.jobs(limit=50)}
    done = run(QUEUEING_CLIENT, server, loaded_workflow)
    assert (done.returncode, done.stderr) == (0, "")
    [job] = [job for job in client.jobs(limit=50) if job["id"] not in before]
    assert client.wait(job["id"], timeout_s=60)["status"] == "succeeded"


def test_the_listening_client_runs_and_hears_each_step(server, loaded_workflow, tmp_path):
    result = tmp_path / "result.png"
    done = run(LISTENING_CLIENT, server, loaded_workflow, result)
    assert done.returncode == 0, done.stderr
    heard = [word for word in done.stdout.split() if word not in {"status", "progress_state"}]
    assert heard[:2] == ["execution_start", "execution_cached"]
    assert heard[-3:] == ["executed", "execution_success", "executing"]
    assert is_coloured(result)


def test_a_client_hears_that_the_tokens_are_gone(make_home, platform, http, picture_of, workflow):
    """A second port on the platform's database, for a tenant without tokens."""
    admin = {"Authorization": f"Bearer {platform.dev['admin_key']}"}
    tenant = http.post("/v1/admin/tenants", json={"name": "penniless"}, headers=admin).json()
    key = http.post(f"/v1/admin/tenants/{tenant['id']}/keys", json={}, headers=admin).json()["key"]
    port, state = free_port(), platform.state
    environment = {
        **platform.environment,
        "PIXELMETER_COMFYUI_KEY": key,
        "DATABASE_URL": state["database_url"],
        "STORAGE_URL": state["storage_url"],
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app.comfyui", "--port", str(port)], env=environment
    )
    try:
        wait_until(lambda: _answers(port), timeout_s=30, what="the second port")
        done = run(
            *(POLLING_CLIENT, f"127.0.0.1:{port}", "image", picture_of(800, 600)),
            *(workflow, workflow.with_name("none.png")),
        )
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert done.returncode == 2
    assert done.stdout.startswith("Not enough tokens: ")


def _answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/prompt").status_code == 200
    except httpx.TransportError:
        return False


def test_a_killed_port_comes_back_with_its_history(platform, server):
    before = httpx.get(f"http://{server}/history").json()
    assert before
    os.kill(platform.process("comfyui")["pid"], signal.SIGKILL)
    port = int(server.rsplit(":", 1)[1])
    wait_until(lambda: not _answers(port), timeout_s=10, what="the end of the port")
    wait_until(lambda: _answers(port), timeout_s=30, what="the port's return")
    assert httpx.get(f"http://{server}/history").json() == before
