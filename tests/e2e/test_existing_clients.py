"""Programs that were written for other services run here with nothing but the address changed."""

import os
import subprocess
import sys

import pytest
from PIL import Image

from engines.media.provenance import read_origin
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

FACE_CLIENT = """
import sys
import httpx as requests

API_URL = sys.argv[1]
headers = {"Authorization": f"Bearer {sys.argv[2]}"} if sys.argv[2] else {}

files = {"source": open(sys.argv[3], "rb"), "target": open(sys.argv[4], "rb")}
data = {"enhance_level": 2, "token_quota": 100}
response = requests.post(API_URL, headers=headers, files=files, data=data, timeout=90)
if response.status_code != 200:
    print("failed:", response.status_code, response.json()["code"])
    sys.exit(2)
result = response.json()
print("tokens", result["usage"]["tokens"])
print("remaining", result["usage"]["remaining_tokens"])
with open(sys.argv[5], "wb") as out:
    out.write(requests.get(result["output_url"]).content)
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


def run_face_client(platform, key, *paths):
    address = f"{platform.dev['base_url']}/v1/face-swap"
    return subprocess.run(
        [sys.executable, "-c", FACE_CLIENT, address, key, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("has_key", [True, False])
def test_the_face_fusion_client_runs_with_nothing_but_its_address_and_key_changed(
    platform, client, photos, tmp_path, has_key
):
    before, result = client.balance()["available"], tmp_path / "result.png"
    key = platform.dev["tenant_key"] if has_key else ""
    # a source of its own, so that neither run finds what the other left
    source = tmp_path / "source.png"
    with Image.open(photos.astronaut) as photo:
        photo.convert("RGB").crop((0, 0, 500 - has_key, 500)).save(source)
    done = run_face_client(platform, key, source, photos.astronaut, result)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert float(said["tokens"]) == 9
    assert float(said["remaining"]) == client.balance()["available"] == before - 9
    with Image.open(result) as swapped, Image.open(photos.astronaut) as target:
        assert swapped.size == target.size
    assert read_origin(result).digital_source_type.endswith("/compositeWithTrainedAlgorithmicMedia")


def test_the_face_fusion_client_hears_what_is_wrong(platform, photos, tmp_path):
    done = run_face_client(
        platform, platform.dev["tenant_key"], photos.coffee, photos.coffee, tmp_path / "none"
    )
    assert (done.returncode, done.stdout.strip()) == (2, "failed: 422 no_face_found")


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
