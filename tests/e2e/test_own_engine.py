"""An engine in a folder outside the package, through the whole platform."""

import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engines"))

from own_engine import price_card, write_engine


@pytest.fixture(scope="module")
def home(make_home, tmp_path_factory):
    folder = write_engine(tmp_path_factory.mktemp("mine"))
    home = make_home(PIXELMETER_ENGINES=str(folder.parent))
    home.run("up", "--detach", "--port", "0", "--comfyui-port", "0")
    return home


def test_the_engine_of_the_readme_is_submitted_run_and_settled_with_a_card_as_data(
    home, photos, tmp_path
):
    dev = home.dev
    admin = {"Authorization": f"Bearer {dev['admin_key']}"}
    with httpx.Client(base_url=dev["base_url"], headers=admin, timeout=30) as http:
        published = http.post("/v1/admin/rate-cards", json=price_card())
        assert published.status_code == 201, published.text
        chosen = {"card": "negative", "engine": "negative"}
        given = http.post(f"/v1/admin/tenants/{dev['tenant']}/card", json=chosen)
        assert given.status_code == 200, given.text
    with home.client() as client:
        file_id = client.upload(photos.astronaut)["id"]
        body = {
            "engine": "negative",
            "input": {"target": {"file": file_id}},
            "params": {"keep": 0.0},
        }
        job = client.wait(client.submit(body)["id"], timeout_s=60)
        assert job["status"] == "succeeded", job
        assert job["usage"]["tokens"] == 2.5
        assert job["quote"]["rate_card"] == "negative@1"
        assert job["output"]["data"] == {"model": "plain@1", "keep": 0.0}
        [file] = job["output"]["files"]
        path = tmp_path / "negative.png"
        path.write_bytes(httpx.get(file["url"]).content)
        assert client.balance()["available"] == 10_000 - 2.5
    with Image.open(photos.astronaut) as original, Image.open(path) as turned:
        assert np.array_equal(255 - np.asarray(original.convert("RGB")), np.asarray(turned))
