import hashlib
import io
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.api.services import Services
from tests.app.api.callers import Caller, Traces, assert_problem


def test_an_uploaded_picture_is_described_by_its_content(caller: Caller, photo: bytes) -> None:
    answer = caller.upload(photo, name="cat.mp4")
    assert answer.status_code == 201
    file = answer.json
    assert (file["media_type"], file["width"], file["height"]) == ("image/png", 451, 300)
    assert file["sha256"] == hashlib.sha256(photo).hexdigest()
    assert file["bytes"] == len(photo)
    assert file["name"] == "cat.mp4"
    assert file["duration_s"] is None


def test_a_file_can_be_read_again(caller: Caller, file_id: str) -> None:
    answer = caller.get(f"/v1/files/{file_id}")
    assert answer.status_code == 200
    assert answer.json["id"] == file_id


def test_a_strangers_file_is_not_found(stranger: Caller, file_id: str) -> None:
    for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
        assert_problem(stranger.get(path), status=404, code="file_not_found")


def test_the_content_comes_back_as_an_attachment(
    caller: Caller, file_id: str, photo: bytes
) -> None:
    with caller.get(f"/v1/files/{file_id}/content") as answer:
        assert answer.status_code == 200
        assert answer.data == photo
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.content_type == "image/png"


def test_a_range_of_the_content_can_be_asked_for(
    caller: Caller, file_id: str, photo: bytes
) -> None:
    path = f"/v1/files/{file_id}/content"
    with caller.get(path, headers={"Range": "bytes=10-19"}) as answer:
        assert answer.status_code == 206
        assert answer.data == photo[10:20]
    outside = caller.get(path, headers={"Range": f"bytes={len(photo)}-"})
    assert_problem(outside, status=416, code="range_not_satisfiable")


def test_an_unchanged_file_is_not_sent_again(caller: Caller, file_id: str) -> None:
    path = f"/v1/files/{file_id}/content"
    with caller.get(path) as first:
        etag = first.headers["ETag"]
    with caller.get(path, headers={"If-None-Match": etag}) as second:
        assert second.status_code == 304


def link_of(caller: Caller, file_id: str) -> str:
    parts = urlsplit(caller.get(f"/v1/files/{file_id}").json["url"])
    return f"{parts.path}?{parts.query}"


def test_a_signed_link_needs_no_key(
    caller: Caller, client: FlaskClient, file_id: str, photo: bytes
) -> None:
    with client.get(link_of(caller, file_id)) as answer:
        assert answer.status_code == 200
        assert answer.data == photo


def test_without_key_and_link_the_content_is_closed(client: FlaskClient, file_id: str) -> None:
    answer = client.get(f"/v1/files/{file_id}/content")
    assert_problem(answer, status=401, code="unauthenticated")


def test_an_edited_link_opens_nothing(
    caller: Caller, client: FlaskClient, file_id: str, photo: bytes
) -> None:
    link = link_of(caller, file_id)
    other = caller.upload(photo).json["id"]
    for edited in (
        link.replace(file_id, other),
        link.replace(file_id, "file_nothing"),
        link.replace("exp=", "exp=9"),
        link[:-1] + ("A" if link[-1] != "A" else "B"),
        link.partition("&")[0] + "&sig=",
    ):
        assert_problem(client.get(edited), status=403, code="link_invalid")


def test_a_link_ends_with_its_time(
    caller: Caller, client: FlaskClient, kit: Services, file_id: str
) -> None:
    from app.files.links import content_path, sign

    path = content_path(file_id)
    key = kit.links.key
    signature = sign(
        key=key, method="GET", path=path, tenant_id=caller.tenant_id, expires=1_600_000_000
    )
    answer = client.get(f"{path}?exp=1600000000&sig={signature}")
    assert_problem(answer, status=403, code="link_expired")


def test_a_link_to_a_deleted_file_opens_nothing(
    caller: Caller, client: FlaskClient, file_id: str, sessions: sessionmaker[Session]
) -> None:
    link = link_of(caller, file_id)
    with sessions.begin() as session:
        session.execute(text("DELETE FROM file"))
    assert_problem(client.get(link), status=403, code="link_invalid")


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..\\..\\windows\\system32",
        "/etc/shadow",
        "a\x00b.png",
        "x" * 300 + ".png",
        "\u202egnp.exe",
        "CON",
        "",
        "....//....//etc/passwd",
        "%2e%2e%2fetc%2fpasswd",
        "~/.ssh/id_rsa",
        ".",
        "..",
    ],
)
def test_a_file_name_is_a_label_and_never_a_path(
    caller: Caller, photo: bytes, traces: Traces, name: str
) -> None:
    before = traces.look()
    answer = caller.upload(photo, name=name or "unnamed")
    assert answer.status_code == 201
    label = answer.json["name"]
    assert "/" not in label
    assert "\\" not in label
    assert label.isprintable()
    assert len(label) <= 255
    assert traces.look()["stored"] == before["stored"] + 1
    with caller.get(f"/v1/files/{answer.json['id']}/content") as content:
        assert content.data == photo
        assert "X-Evil" not in content.headers


def test_the_same_key_and_file_are_one_upload(caller: Caller, photo: bytes, traces: Traces) -> None:
    headers = {"Idempotency-Key": "upload-1"}
    first = caller.upload(photo, headers=headers)
    second = caller.upload(photo, headers=headers)
    assert first.status_code == second.status_code == 201
    assert first.json["id"] == second.json["id"]
    assert traces.look()["stored"] == 1


def test_the_same_key_with_another_file_is_refused(
    caller: Caller, photo: bytes, portrait: bytes, traces: Traces
) -> None:
    headers = {"Idempotency-Key": "upload-1"}
    caller.upload(photo, headers=headers)
    answer = caller.upload(portrait, headers=headers)
    assert_problem(answer, status=409, code="idempotency_mismatch")
    assert traces.look()["stored"] == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({}, "missing_part"),
        ({"file": "not a file"}, "unknown_part"),
        ({"image": (io.BytesIO(b"x"), "a.png")}, "unknown_part"),
        (
            {"file": [(io.BytesIO(b"x"), "a.png"), (io.BytesIO(b"y"), "b.png")]},
            "duplicate_part",
        ),
    ],
)
def test_the_form_has_exactly_one_file(caller: Caller, data: dict, code: str) -> None:
    answer = caller.post("/v1/files", data=data, content_type="multipart/form-data")
    assert_problem(answer, status=400, code=code)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "https://127.0.0.1/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://[::1]/a.png",
        "https://localhost/a.png",
    ],
)
def test_a_url_into_the_private_network_is_refused(
    caller: Caller, traces: Traces, url: str
) -> None:
    answer = caller.post("/v1/files", json={"url": url})
    assert_problem(answer, status=422, code="url_not_allowed")
    assert traces.look()["file"] == 0


def test_a_url_body_is_closed(caller: Caller) -> None:
    answer = caller.post("/v1/files", json={"url": "https://example.com/a.png", "headers": {}})
    assert_problem(answer, status=400, code="unknown_field")


def test_another_content_type_is_refused(caller: Caller, photo: bytes) -> None:
    answer = caller.post("/v1/files", data=photo, content_type="image/png")
    assert_problem(answer, status=415, code="unsupported_media_type")
