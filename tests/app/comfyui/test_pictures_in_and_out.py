"""Uploads, their names, and views of pictures, over the network."""

import io

import pytest
from PIL import Image
from sqlalchemy import text

from tests.app.comfyui.conftest import graph, picture


@pytest.mark.parametrize("part", ["image", "file"])
def test_a_picture_comes_as_image_or_as_file(part, served):
    answer = served.http.post("/upload/image", files={part: ("photo.png", picture())})
    assert answer.json() == {"name": "photo.png", "subfolder": "", "type": "input"}
    place = {"filename": "photo.png", "type": "input"}
    assert served.http.get("/api/view", params=place).content == picture()


def test_names_are_kept_numbered_or_overwritten(served, sessions):
    assert served.upload(picture()) == "photo.png"
    assert served.upload(picture()) == "photo.png"
    assert served.upload(picture(1)) == "photo (1).png"
    assert served.upload(picture(2)) == "photo (2).png"
    assert served.upload(picture(3), overwrite="true") == "photo.png"
    viewed = served.http.get("/view", params={"filename": "photo.png", "type": "input"})
    assert viewed.content == picture(3)
    assert served.upload(picture(3), subfolder="a/b", type="temp") == "photo.png"
    place = {"filename": "photo.png", "subfolder": "a/b", "type": "temp"}
    assert served.http.get("/view", params=place).content == picture(3)
    with sessions() as session:  # the same bytes were not kept twice
        assert session.scalar(text("SELECT count(*) FROM file")) == 5


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("../../etc/passwd.png", {}),
        ("/etc/passwd.png", {}),
        ("a/b.png", {}),
        ("C:\\secret.png", {}),
        ("..", {}),
        ("x" * 300, {}),
        ("a.png", {"subfolder": "../.."}),
        ("a.png", {"subfolder": "/etc"}),
        ("a.png", {"subfolder": "a\x00b"}),
        ("a.png", {"type": "models"}),
    ],
)
def test_a_path_is_no_name(name, fields, steady):
    before = steady.counted()
    answer = steady.served.http.post(
        "/upload/image", files={"image": (name, picture())}, data=fields
    )
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_upload")
    assert steady.counted() == before


@pytest.mark.parametrize(
    ("request_", "status", "kind"),
    [
        ({"data": {"image": "text"}}, 400, "invalid_upload"),
        ({"content": b"nothing"}, 400, "invalid_upload"),
        ({"files": {"photo": ("a.png", b"x")}}, 400, "invalid_upload"),
        ({"files": {"image": ("a.png", b"no picture")}}, 400, "unsupported_media"),
        ({"files": {"image": ("a.png", b"")}}, 400, "empty_file"),
        ({"files": {"image": ("a.png", b"x" * 2_000_001)}}, 413, "invalid_upload"),
        (
            {
                "content": b"--b\r\nContent-Disposition: form-data\r\n\r\nx",
                "headers": {"Content-Type": "multipart/form-data; boundary=b"},
            },
            400,
            "invalid_upload",
        ),
        (
            {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
            400,
            "invalid_upload",
        ),
    ],
)
def test_what_is_no_picture_is_refused_in_words(request_, status, kind, steady):
    before = steady.counted()
    answer = steady.served.http.post("/upload/image", **request_)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["type"] == kind
    assert answer.json()["error"]["message"]
    assert steady.counted() == before


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"filename": "../secret.key"}, 400),
        ({"filename": "/etc/passwd"}, 400),
        ({"filename": "a.png", "subfolder": "../.."}, 403),
        ({"filename": "a.png", "subfolder": "/etc"}, 403),
        ({"filename": "a.png", "type": "models"}, 400),
        ({"filename": "a\x00.png"}, 400),
        ({"filename": "not there.png"}, 404),
        ({"filename": "file_01ABC"}, 404),
        ({}, 404),
    ],
)
def test_a_view_leads_nowhere_else(query, status, steady):
    assert steady.served.http.get("/view", params=query).status_code == status


def test_channels_and_previews(steady):
    served = steady.served
    pixels = Image.new("RGBA", (8, 4), (10, 20, 30, 40))
    out = io.BytesIO()
    pixels.save(out, format="PNG")
    served.upload(out.getvalue(), "clear.png")

    def viewed(**query):
        answer = served.http.get(
            "/view", params={"filename": "clear.png", "type": "input", **query}
        )
        assert answer.headers["Content-Disposition"] == 'filename="clear.png"'
        return answer.headers["Content-Type"], Image.open(io.BytesIO(answer.content))

    kind, rgb = viewed(channel="rgb")
    assert (kind, rgb.mode, rgb.getpixel((0, 0))) == ("image/png", "RGB", (10, 20, 30))
    kind, alpha = viewed(channel="a")
    assert (kind, alpha.getpixel((0, 0))) == ("image/png", (0, 0, 0, 40))
    kind, whole = viewed(channel="rgba")
    assert (kind, whole.getpixel((0, 0))) == ("image/png", (10, 20, 30, 40))
    assert viewed(preview="jpeg;80")[0] == "image/jpeg"
    assert viewed(preview="webp;90")[0] == "image/webp"
    assert viewed(preview="exe;x")[0] == "image/webp"
    assert viewed(preview="jpeg", channel="a")[0] == "image/webp"


def test_a_picture_of_16_bits_is_previewed_as_it_looks(steady):
    served = steady.served
    deep = Image.new("I;16", (8, 4), 40_000)
    out = io.BytesIO()
    deep.save(out, format="PNG")
    served.upload(out.getvalue(), "deep.png")
    query = {"filename": "deep.png", "type": "input", "preview": "jpeg;90"}
    shown = Image.open(io.BytesIO(served.http.get("/view", params=query).content))
    assert abs(shown.getpixel((0, 0))[0] - 40_000 // 257) <= 2


def test_an_expired_upload_is_gone_and_its_name_free(served, sessions):
    name = served.upload(picture())
    with sessions.begin() as session:
        session.execute(text("UPDATE file SET expires_at = clock_timestamp()"))
    assert served.http.get("/view", params={"filename": name, "type": "input"}).status_code == 404
    refused = served.http.post("/prompt", json={"prompt": graph(name)}).json()
    assert refused["node_errors"]["1"]["errors"][0]["type"] == "custom_validation_failed"
    assert served.upload(picture(1)) == name
