"""The addresses, their twins, and who may not use them from a browser."""

import pytest

from app.comfyui.nodes import NODE_CLASSES
from app.comfyui.server import is_foreign


@pytest.mark.parametrize(
    ("host", "origin", "foreign"),
    [
        ("127.0.0.1:8188", "http://evil.example", True),
        ("127.0.0.1:8188", "http://127.0.0.1:9999", True),
        ("localhost:8188", "http://localhost:8188", False),
        ("127.0.0.1:8188", "http://127.0.0.1", False),
        ("127.0.0.1:8188", "null", True),
        ("[::1]:8188", "http://evil.example", True),
        ("127.0.0.1:x", "http://127.0.0.1:8188", True),
        ("pixelmeter.example", "http://evil.example", False),
    ],
)
def test_pages_of_other_addresses_are_foreign_on_loopback(host, origin, foreign):
    assert is_foreign(host, origin) is foreign


def test_a_browser_elsewhere_is_refused(steady):
    headers = {"Origin": "http://evil.example"}
    assert steady.served.http.post("/prompt", json={}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        *("/prompt", "/queue", "/history", "/history/none", "/object_info", "/system_stats"),
        *("/object_info/SaveImage", "/object_info/Unknown", "/features"),
    ],
)
def test_every_address_has_its_twin(path, steady):
    answers = [steady.served.http.get(f"{prefix}{path}") for prefix in ("", "/api")]
    assert [each.status_code for each in answers] == [200, 200]
    if path != "/system_stats":  # whose free memory is another one by now
        assert answers[0].json() == answers[1].json()


def test_nodes_are_described_as_their_clients_expect(steady):
    info = steady.served.http.get("/object_info").json()
    assert set(info) == set(NODE_CLASSES)
    colour = info["DDColor_Colorize"]
    assert colour["input"]["required"]["model_input_size"] == [
        "INT",
        {"default": 512, "min": 32, "max": 4096, "step": 32},
    ]
    assert colour["input"]["required"]["checkpoint"][0][:4] == [
        *("ddcolor_paper_tiny.pth", "ddcolor_paper.pth", "ddcolor_modelscope.pth"),
        "ddcolor_artistic.pth",
    ]
    assert (colour["output"], colour["output_name"]) == (["IMAGE"], ["colorized_image"])
    assert info["SaveImage"]["output_node"] is True
    assert steady.served.http.get("/object_info/Unknown").json() == {}


def test_the_port_tells_what_it_is(steady):
    stats = steady.served.http.get("/system_stats").json()
    assert stats["system"]["ram_total"] > 0
    assert stats["devices"] == []
    assert steady.served.http.get("/features").json()["max_upload_size"] == 2_000_000
    assert steady.served.http.post("/free", json={"unload_models": True}).status_code == 200
    assert steady.served.http.get("/").status_code == 200
    assert steady.served.http.get("/nothing").status_code == 404
