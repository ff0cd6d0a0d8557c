"""Programs that were written for other services run here with nothing but the address changed."""

import os
import subprocess
import sys

import pytest

from tests.app.web_server import picture, serving
from tests.networks import write_one_box

# As clients in the wild are written, `requests` read as the library of the same calls we ship.
DETECTION_CLIENT = """
import sys
import httpx as requests

API_URL = sys.argv[1]
API_KEY = sys.argv[2]

response = requests.post(
    API_URL,
    headers={"Authorization": f"Bearer {API_KEY}"},
    json={"image_url": sys.argv[3], "model": "yolov8l", "img_size": 960},
    timeout=90,
)
if response.status_code == 402:
    print("no tokens left:", response.json()["code"])
    sys.exit(2)
response.raise_for_status()
result = response.json()
for found in result["predictions"]:
    print("found", found["label"], found["box"])
print("tokens", result["usage"]["tokens"])
print("remaining", result["usage"]["remaining_tokens"])
"""


@pytest.fixture(scope="module")
def yolov8l(platform, tmp_path_factory):
    """Weights under that name: real ones of a smaller model where there are any."""
    mirror = os.environ.get("PIXELMETER_MODEL_MIRROR")
    if mirror and not mirror.startswith("http"):
        weights = f"{mirror}/yolov8n_recon_dyn.onnx"
    else:
        weights = str(write_one_box(tmp_path_factory.mktemp("weights") / "yolov8l.onnx"))
    platform.run("models", "add", "yolov8l", weights, "--licence", "AGPL-3.0")


def run_client(platform, key, url):
    address = f"{platform.dev['base_url']}/yolo/detect"
    return subprocess.run(
        [sys.executable, "-c", DETECTION_CLIENT, address, key, url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_detection_client_runs_with_nothing_but_its_address_changed(
    platform, client, photos, yolov8l
):
    before = client.balance()["available"]
    with serving(picture(photos.astronaut.read_bytes()), times=2) as port:
        done = run_client(
            platform, platform.dev["tenant_key"], f"http://127.0.0.1:{port}/photo.png"
        )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert "[" in said["found"]
    assert float(said["tokens"]) == 5.625
    assert float(said["remaining"]) == client.balance()["available"]
    assert before - client.balance()["available"] == pytest.approx(5.625, abs=1e-6)


def test_the_detection_client_hears_that_its_tokens_are_gone(platform, photos, http, yolov8l):
    admin = {"Authorization": f"Bearer {platform.dev['admin_key']}"}
    tenant = http.post("/v1/admin/tenants", json={"name": "broke"}, headers=admin).json()
    key = http.post(f"/v1/admin/tenants/{tenant['id']}/keys", json={}, headers=admin).json()["key"]
    with serving(picture(photos.astronaut.read_bytes()), times=2) as port:
        done = run_client(platform, key, f"http://127.0.0.1:{port}/photo.png")
    assert (done.returncode, done.stdout.strip()) == (2, "no tokens left: insufficient_tokens")
